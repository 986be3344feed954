"""Draw one generator's figures: evolution, training, and a contact sheet of videos with their prompts."""

import json
from argparse import Namespace
from pathlib import Path

import pandas as pd

from promptavideo import cli
from promptavideo.evolution import PairRule
from promptavideo.figures import SheetRow, contact_sheet, evolution_curve, training_curves
from promptavideo.schemas import SCORES, read_table
from promptavideo.store import Store
from promptavideo.totals import total

parser = cli.parser(__doc__)
parser.add_argument("--rounds", type=Path, nargs="+", required=True, help="scores of each evolution round, in order")
parser.add_argument("--evolution", type=cli.settings(PairRule), required=True)
parser.add_argument("--logs", type=json.loads, required=True, help="JSON: {booster: its log.csv}")
parser.add_argument("--sheet", type=json.loads, required=True, help="JSON: {refiner: its scores}")
parser.add_argument("--prompts", type=int, default=6, help="prompts on the contact sheet")
parser.add_argument("--store", type=Path, required=True)
parser.add_argument("--generator", required=True)
parser.add_argument("--folder", type=Path, required=True)


def main(options: Namespace) -> None:
    """Draw the three figures."""
    rounds = {number: read_table(path, SCORES) for number, path in enumerate(options.rounds)}
    weights = options.evolution.weights
    evolution_curve(rounds, lambda scores: total(scores, weights), options.folder / "evolution.png")
    logs = {stage: pd.read_csv(path) for stage, path in options.logs.items()}
    training_curves(logs, options.folder / "training.png")
    sheet_rows = _sheet_rows(options)
    contact_sheet(sheet_rows, options.folder / "contact_sheet.png")


def _sheet_rows(options: Namespace) -> list[SheetRow]:
    store = Store(options.store, options.generator)
    scores = {refiner: read_table(Path(path), SCORES) for refiner, path in options.sheet.items()}
    filmed = {refiner: store.of_batch(Path(path).parent) for refiner, path in options.sheet.items()}
    firsts = {refiner: table[table["replicate"] == 0].set_index("prompt_id") for refiner, table in scores.items()}
    chosen = sorted(set.intersection(*(set(table.index) for table in firsts.values())))[: options.prompts]
    return [
        SheetRow(
            prompt=next(iter(firsts.values())).loc[prompt_id, "prompt"],
            videos=[
                (refiner, table.loc[prompt_id, "refined"], store.read(*filmed[refiner][table.loc[prompt_id, "key"]]))
                for refiner, table in firsts.items()
            ],
        )
        for prompt_id in chosen
    ]


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
