"""Write the reference of the configuration: docs/configuration.md, and a JSON schema for editors."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.config import Config
from promptavideo.reference import write

parser = cli.parser(__doc__)
parser.add_argument("--root", type=Path, default=Path(), help="the repository")


def main(options: Namespace) -> None:
    """Write both files."""
    write(Config, options.root)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
