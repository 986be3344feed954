"""Select SFT pairs: of each prompt the best evolved text."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import learning

parser = cli.parser(__doc__, "track")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    learning.pairs(cli.study(options), options.track)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
