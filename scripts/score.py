"""Judge the videos, or the texts, of one shard of a batch by a group of judges."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import batches

parser = cli.parser(__doc__, "track", "batch", "judges", "shard")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    batches.score(cli.study(options), options.track, options.batch, options.judges, options.shard)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
