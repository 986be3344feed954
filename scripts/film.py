"""Film one shard of a batch."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track", "batch", "shard")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.film(cli.study(options), options.track, options.batch, options.shard)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
