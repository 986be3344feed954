"""Put one model of the registry on disk, verified."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import inputs

parser = cli.parser(__doc__, "model")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    inputs.fetch_model(cli.study(options), options.model)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
