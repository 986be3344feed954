"""Score the videos of some shards with every reward."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.hardware import environment
from promptavideo.judges import JudgeConfig, load_judges
from promptavideo.schemas import PROMPTS, REWARDS, read_table, write_table
from promptavideo.scoring import score_shard
from promptavideo.shards import shard_rows
from promptavideo.store import Store
from promptavideo.timing import Timing

parser = cli.parser(__doc__)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--shards", type=int, nargs="+", required=True)
parser.add_argument("--shard-size", type=int, required=True, help="prompts in a shard")
parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="one a shard")
parser.add_argument("--generator", required=True)
parser.add_argument("--rewards", type=cli.settings(dict[str, JudgeConfig]), required=True)
parser.add_argument("--models", type=Path, required=True, help="folder of all models")
parser.add_argument("--store", type=Path, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--timing", type=Path, required=True, help="gets what this job scored, and how fast")
parser.add_argument("--stage", required=True, help="name of this work in progress lines")


def main(options: Namespace) -> None:
    """Score every video that the manifests name; a reward is loaded when its first score is missing."""
    import pandas as pd

    table = read_table(options.prompts, PROMPTS)
    rows = pd.concat([shard_rows(table, shard, options.shard_size) for shard in options.shards], ignore_index=True)
    rewards = load_judges(options.rewards, options.models)
    store = Store(options.store, options.generator)
    timing = Timing()
    table = score_shard(rows, options.manifests, rewards, store, options.stage, timing)
    write_table(table, options.output, REWARDS)
    timing.circumstances = environment() | {"rewards": rewards.circumstances()}
    timing.write(options.timing)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
