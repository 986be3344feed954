"""Print a CSV of VBench's dimensions (percent, named as in the paper's Table 8) with quality, semantic and total."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd

from promptavideo import cli
from promptavideo.errors import InputError
from promptavideo.vbench.dimensions import DIMENSIONS, TOTALS, totals

PERCENT = 100.0

parser = cli.parser(__doc__)
parser.add_argument("table", type=Path, help="a CSV; columns that are no dimension are kept, dimensions may be missing")


def main(options: Namespace) -> None:
    """Read, reckon, print; a total that lacks a dimension stays empty, every other cell as it was."""
    try:
        table = pd.read_csv(options.table, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{options.table}: cannot be read as CSV ({error})") from error
    present = [name for name in DIMENSIONS if name in table]
    if not present:
        raise InputError(f"{options.table}: holds no column of {', '.join(DIMENSIONS)}")
    values = {
        name: np.array([_percent(cell, name, line, options.table) for line, cell in enumerate(table[name], 2)])
        for name in present
    }
    made = totals({name: value / PERCENT for name, value in values.items()})
    table = table.drop(columns=list(TOTALS), errors="ignore")
    place = min(list(table.columns).index(name) for name in present)
    for name in reversed(TOTALS):
        column = np.broadcast_to(PERCENT * made[name], len(table))
        table.insert(place, name, ["" if np.isnan(value) else f"{value:.2f}" for value in column])
    table.to_csv(sys.stdout, index=False)


def _percent(cell: str, name: str, line: int, path: Path) -> float:
    """A cell's value; NaN where it is empty."""
    try:
        value = float(cell) if cell.strip() else float("nan")
    except ValueError:
        raise InputError(f"{path}, line {line}: {name} is {cell!r:.40}, which is no number") from None
    if not (np.isnan(value) or 0 <= value <= PERCENT):
        raise InputError(f"{path}, line {line}: {name} is {cell}; percent are 0 to 100")
    return value


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
