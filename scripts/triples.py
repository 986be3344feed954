"""Select DPO triples: of each prompt a better and a worse candidate."""

import logging
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.preference import TripleRule, make_triples
from promptavideo.schemas import SCORES, TRIPLES, read_table, write_table

parser = cli.parser(__doc__)
parser.add_argument("--scores", type=Path, required=True)
parser.add_argument("--settings", type=cli.settings(TripleRule), required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Select, report what was rejected, and write."""
    selected = make_triples(read_table(options.scores, SCORES), options.settings)
    for line in selected.report:
        logging.info(line)
    write_table(selected.table, options.output, TRIPLES)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
