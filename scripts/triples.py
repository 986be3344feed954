"""Select DPO triples: of each prompt a better and a worse candidate."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import learning

parser = cli.parser(__doc__, "track", "batch")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    learning.triples(cli.study(options), options.track, options.batch)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
