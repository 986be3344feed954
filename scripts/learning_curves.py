"""Draw how a track's evolution and trainings went."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import tables

parser = cli.parser(__doc__, "track")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    tables.learning_curves(cli.study(options), options.track)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
