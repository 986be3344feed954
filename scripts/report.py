"""Draw the scores by stage and write the report."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import tables

parser = cli.parser(__doc__)


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    tables.report(cli.study(options))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
