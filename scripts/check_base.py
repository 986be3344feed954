"""Check that the base model can be a booster's, before anything is filmed for its training."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import inputs

parser = cli.parser(__doc__)


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    inputs.check_base(cli.study(options))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
