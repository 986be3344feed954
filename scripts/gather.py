"""Put together what a group of judges found of a batch, and record where it comes from."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track", "batch", "judges")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.gather(cli.study(options), options.track, options.batch, options.judges)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
