"""Draw a contact sheet of a track's videos with their prompts."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import tables

parser = cli.parser(__doc__, "track")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    tables.contact_sheet(cli.study(options), options.track)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
