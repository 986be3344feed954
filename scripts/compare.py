"""Compare the results of two workspaces, e.g. before and after a change of the code."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.compare import compare

parser = cli.parser(__doc__)
parser.add_argument("one", type=Path)
parser.add_argument("other", type=Path)


def main(options: Namespace) -> None:
    """Compare and print."""
    for line in compare(options.one, options.other):
        cli.say(line)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
