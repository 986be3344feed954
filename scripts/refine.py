"""Rewrite a prompt set with one refiner, ready to be filmed."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track", "batch")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.refine(cli.study(options), options.track, options.batch)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
