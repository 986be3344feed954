"""List an evaluation's videos for VBench, and link them under the names that it wants."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import vbench

parser = cli.parser(__doc__, "track", "batch")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    vbench.list_videos(cli.study(options), options.track, options.batch)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
