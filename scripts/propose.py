"""Make the prompts of one evolution round: the originals, or what the operator proposes from all scores so far."""

import logging
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.evolution import RoundRule, first_round, next_round
from promptavideo.operators import OperatorConfig, load_operator
from promptavideo.operators.base import EVOLUTION_PLACEHOLDERS, read_template
from promptavideo.schemas import PROMPT_SET, PROMPTS, SCORES, read_table, write_table

parser = cli.parser(__doc__)
parser.add_argument("--prompt-set", type=Path, required=True)
parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores of all earlier rounds")
parser.add_argument("--round", type=int, required=True)
parser.add_argument("--generator", required=True)
parser.add_argument("--settings", type=cli.settings(RoundRule), required=True)
parser.add_argument("--name", help="the operator's name; round 0 needs none")
parser.add_argument("--operator", type=cli.settings(OperatorConfig))
parser.add_argument("--store", type=Path, required=True, help="keeps the answers and the ledger of chat operators")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)


def main(options: Namespace) -> None:
    """Make and write the round; what the parser dropped goes to the log."""
    prompt_set = read_table(options.prompt_set, PROMPT_SET)
    if options.round == 0:
        table = first_round(prompt_set, options.settings, options.seed)
    else:
        selected = next_round(
            options.round,
            prompt_set,
            [read_table(path, SCORES) for path in options.scores],
            load_operator(options.operator, options.name, options.store),
            read_template(Path(options.settings.template), EVOLUTION_PLACEHOLDERS),
            options.settings,
            options.generator,
            options.seed,
        )
        for line in selected.report:
            logging.info(line)
        table = selected.table
    write_table(table, options.output, PROMPTS)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
