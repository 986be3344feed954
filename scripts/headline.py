"""Print what a finished run found, and where to see the rest."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.headline import of_results

parser = cli.parser(__doc__)
parser.add_argument("--results", type=Path, default=Path("results"), help="folder of a run's results")


def main(options: Namespace) -> None:
    """Read the table and print."""
    cli.say(of_results(options.results))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
