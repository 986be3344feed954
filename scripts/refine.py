"""Rewrite a prompt set with one refiner, ready to be filmed."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.boosters.config import BoosterConfig
from promptavideo.operators import OperatorConfig
from promptavideo.refiners import RefinerConfig, load_refiner
from promptavideo.refiners.table import evaluation_table
from promptavideo.schemas import PROMPT_SET, PROMPTS, read_table, write_table
from promptavideo.timing import Timing

parser = cli.parser(__doc__)
parser.add_argument("--prompt-set", type=Path, required=True)
parser.add_argument("--refiner", required=True, help="its name")
parser.add_argument("--entry", type=cli.settings(RefinerConfig), required=True)
parser.add_argument("--operator", type=cli.settings(OperatorConfig), help="an llm refiner's operator")
parser.add_argument("--store", type=Path, help="keeps the answers and the ledger of a chat operator")
parser.add_argument("--settings", type=cli.settings(BoosterConfig), help="a booster's settings")
parser.add_argument("--base", type=Path, help="a booster's base model")
parser.add_argument("--booster", type=Path, help="a booster's folder")
parser.add_argument("--model", type=Path, help="a promptist refiner's model")
parser.add_argument("--tokenizer", type=Path, help="the folder of its tokenizer, if another")
parser.add_argument("--replicates", type=int, required=True, help="videos a prompt")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--timing", type=Path, required=True, help="gets what wrote the texts, and how fast")


def main(options: Namespace) -> None:
    """Refine every prompt once and plan its videos."""
    refiner = load_refiner(
        options.entry,
        seed=options.seed,
        name=options.refiner,
        operator=options.operator,
        store=options.store,
        booster=options.settings,
        base=options.base,
        folder=options.booster,
        model=options.model,
        tokenizer=options.tokenizer,
    )
    prompt_set = read_table(options.prompt_set, PROMPT_SET)
    timing = Timing()
    with timing.measure(len(prompt_set)):
        table = evaluation_table(prompt_set, refiner, options.replicates, options.seed)
    timing.circumstances = refiner.circumstances()
    timing.write(options.timing)
    write_table(table, options.output, PROMPTS)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
