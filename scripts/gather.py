"""Join a batch's prompts with the rewards of its shards."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.schemas import PROMPTS, REWARDS, SCORES, read_table, write_table
from promptavideo.scoring import gather

parser = cli.parser(__doc__)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--rewards", type=Path, nargs="+", required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Read, join, check and write."""
    shards = [read_table(path, REWARDS) for path in options.rewards]
    write_table(gather(read_table(options.prompts, PROMPTS), shards), options.output, SCORES)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
