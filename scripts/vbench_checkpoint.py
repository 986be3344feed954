"""Fetch one of VBench's checkpoints to where VBench looks for it."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.vbench.checkpoints import Checkpoint, stage

parser = cli.parser(__doc__)
parser.add_argument("name")
parser.add_argument("--entry", type=cli.settings(Checkpoint), required=True)
parser.add_argument("--cache", type=Path, required=True, help="folder of all checkpoints")
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Fetch, verify, record."""
    stage(options.name, options.entry, options.cache, options.output)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
