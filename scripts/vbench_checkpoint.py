"""Put one of VBench's checkpoints on disk, verified."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import vbench

parser = cli.parser(__doc__, "checkpoint")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    vbench.fetch_checkpoint(cli.study(options), options.checkpoint)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
