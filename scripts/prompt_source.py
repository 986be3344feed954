"""Read a source of captions once into the table that prompt sets are slices of."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.captions import PromptSource, read_source

parser = cli.parser(__doc__)
parser.add_argument("name")
parser.add_argument("--settings", type=cli.settings(PromptSource), required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--origin", type=Path, required=True, help="where its files, counts and dropped rows are recorded")


def main(options: Namespace) -> None:
    """Fetch, filter, order and write."""
    read_source(options.name, options.settings, Path(), options.output, options.origin)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
