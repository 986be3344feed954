"""Print what a run takes and what of it is done, by generator and stage."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.config import Config
from promptavideo.estimate import Estimate, as_table, describe

parser = cli.parser(__doc__)
parser.add_argument("--config", type=cli.settings(Config), required=True, help="the whole checked configuration")


def main(options: Namespace) -> None:
    """Reckon and print; nothing is written."""
    estimate = Estimate(options.config, Path())
    rows = [row for generator in options.config.generators for row in estimate.rows(generator)]
    print(describe(as_table(rows), estimate, options.config))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
