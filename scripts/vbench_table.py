"""Compare the refiners of all tracks (scope `tables`), or of one (TRACK/tables), by VBench."""

from argparse import Namespace

from promptavideo import cli
from promptavideo.steps import tables

parser = cli.parser(__doc__, "scope", "table")


def main(options: Namespace) -> None:
    """Do the step of the run's configuration."""
    tables.vbench(cli.study(options), options.scope, options.table)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
