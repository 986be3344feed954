"""Draw several refined texts a prompt from a booster, to be filmed and compared."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.boosters.config import BoosterConfig
from promptavideo.schemas import PROMPT_SET, PROMPTS, read_table, write_table
from promptavideo.shots import prompts_table
from promptavideo.timing import Timing

parser = cli.parser(__doc__)
parser.add_argument("--prompt-set", type=Path, required=True)
parser.add_argument("--settings", type=cli.settings(BoosterConfig), required=True)
parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
parser.add_argument("--booster", type=Path, required=True)
parser.add_argument("--count", type=int, required=True, help="candidates a prompt")
parser.add_argument("--round", type=int, required=True, help="the DPO round they are for")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--timing", type=Path, required=True, help="gets what wrote the texts, and how fast")


def main(options: Namespace) -> None:
    """Load the booster once and draw every candidate."""
    from promptavideo.refiners.booster import BoosterRefiner

    prompt_set = read_table(options.prompt_set, PROMPT_SET)
    booster = BoosterRefiner(options.settings, options.base, options.booster, options.seed)
    ids, prompts = prompt_set["prompt_id"].tolist(), prompt_set["prompt"].tolist()
    timing = Timing()
    with timing.measure(len(ids) * options.count):
        texts = booster.candidates(ids, prompts, options.count, options.round)
    timing.circumstances = booster.circumstances()
    timing.write(options.timing)
    write_table(prompts_table(dict(zip(ids, prompts, strict=True)), texts, options.seed), options.output, PROMPTS)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
