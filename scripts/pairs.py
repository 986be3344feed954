"""Select SFT pairs: of each prompt the best evolved text."""

import logging
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.evolution import PairRule, select_pairs
from promptavideo.schemas import PAIRS, SCORES, read_table, write_table

parser = cli.parser(__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores of all rounds")
parser.add_argument("--settings", type=cli.settings(PairRule), required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Select, report what was rejected, and write."""
    selected = select_pairs([read_table(path, SCORES) for path in options.scores], options.settings)
    for line in selected.report:
        logging.info(line)
    write_table(selected.table, options.output, PAIRS)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
