"""Choose the prompts of the pilot: the first ones of the evolution, so that it films nothing of its own."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.pilot_prompts(cli.study(options), options.track)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
