"""Read VBench's list of prompts out of its wheel: the whole, and the part of the paper's ablations."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.vbench.wheel import choose, read_list, write_rows

parser = cli.parser(__doc__)
parser.add_argument("--version", required=True, help="of the vbench package")
parser.add_argument("--sha256", required=True, help="of its wheel")
parser.add_argument("--subset", type=Path, required=True, help="table of the places that the ablations take")
parser.add_argument("--all", type=Path, required=True, help="gets every row")
parser.add_argument("--chosen", type=Path, required=True, help="gets the rows of the subset")


def main(options: Namespace) -> None:
    """Download, check and write."""
    rows = read_list(options.version, options.sha256)
    write_rows(choose(rows, options.subset), options.chosen)
    write_rows(rows, options.all)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
