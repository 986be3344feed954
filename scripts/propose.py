"""Make the prompts of one evolution round: the originals, or what the operator proposes from all scores so far."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track", "batch")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.propose(cli.study(options), options.track, options.batch)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
