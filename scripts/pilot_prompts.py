"""Choose the prompts of the pilot: the first ones of the evolution, so that it films nothing of its own."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.schemas import PROMPTS, read_table, write_table
from promptavideo.shards import shard_rows

parser = cli.parser(__doc__)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Take the first shard of `count` prompts."""
    write_table(shard_rows(read_table(options.prompts, PROMPTS), 0, options.count), options.output, PROMPTS)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
