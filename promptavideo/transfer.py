"""What boosters gain on generators whose data they did and did not learn from: one row a booster and set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from promptavideo.resampling import BootstrapConfig
from promptavideo.tables import LAPTOP_NOTE, PAPER_COLUMNS, Arm, Columns, interval, prompt_means, videoscore_table

TEXT = ("set", "booster", "learned_from")
GAIN = ("gain", "gain_ci_low", "gain_ci_high", "p_value")
CELLS = (*GAIN, "to_own", "to_own_ci_low", "to_own_ci_high")
"""The columns of each generator, behind its name."""

METHOD_NOTE = (
    "Rows are boosters, learned_from says whose data they learned from, and the columns of a generator are of its "
    "videos of a booster's texts. gain is the paired difference of avg, the mean of {average} on a 0-5 scale, to the "
    "original prompts filmed by the same generator; to_own is the paired difference to the last booster that learned "
    "from that generator alone. Intervals are 95 % bootstrap intervals over prompts, p-values two-sided paired "
    "permutation tests of gain, not corrected for the number of cells. Empty cells were not filmed, or are of that "
    "booster itself."
)
PAPER_NOTE = (
    "Prompt-A-Video (arXiv 2412.15156, E.1) printed no numbers of this form: by its text, a booster shows no effect on "
    "another generator, and one that learned from all is worse than each one's own."
)


@dataclass(frozen=True, eq=False)
class Cell:
    """What one generator made of a booster's texts."""

    booster: str
    learned_from: tuple[str, ...]
    """The generators whose data it and those that it goes on from learned from."""
    stages: int
    """How many trainings are behind it."""
    arm: Arm


def transfer_table(
    originals: Sequence[Arm], cells: Sequence[Cell], bootstrap: BootstrapConfig, columns: Columns = PAPER_COLUMNS
) -> pd.DataFrame:
    """Paired gains of each booster on each generator, and its differences to that generator's own booster.

    Args:
        originals: The original prompts, for each generator and set of `cells`.
        cells: What is compared, in the order wanted.
        bootstrap: Resampling settings.
        columns: What `avg` is the mean of.

    Returns:
        One row a set and booster with the columns of `all_columns`; `videos` counts those of all its cells.

    Raises:
        InputError: A cell was not filmed for the same prompts and replicates as its original prompts.
        ScoreError: A score is not a finite number.
    """
    generators = list(dict.fromkeys(arm.generator for arm in originals))
    compared = videoscore_table([*originals, *(cell.arm for cell in cells)], bootstrap, columns)
    gains = compared[list(GAIN)].iloc[len(originals) :].to_dict("records")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell, told in zip(cells, gains, strict=True):
        arm = cell.arm
        first = {"set": arm.set, "booster": cell.booster, "learned_from": ", ".join(cell.learned_from), "videos": 0}
        row = rows.setdefault((arm.set, cell.booster), first)
        row["videos"] += len(arm.scores)
        own = _own(cell, cells)
        if own and own.booster != cell.booster:
            steps = prompt_means(arm, columns)["avg"] - prompt_means(own.arm, columns)["avg"]
            told = told | {"to_own": float(steps.mean()), **interval("to_own", steps, bootstrap, arm)}
        row |= {f"{arm.generator}_{name}": value for name, value in told.items()}
    table = pd.DataFrame(list(rows.values()), columns=all_columns(generators))
    numbers = [name for name in table if name not in (*TEXT, "videos")]
    return table.astype({"videos": "Int64", **dict.fromkeys(numbers, "float64")})


def all_columns(generators: Sequence[str]) -> list[str]:
    """The columns of the table, in order."""
    return [*TEXT, "videos", *(f"{generator}_{name}" for generator in generators for name in CELLS)]


def notes(scale: str, remarks: Sequence[str], columns: Columns = PAPER_COLUMNS) -> list[str]:
    """The notes that belong under the table.

    Args:
        scale: The configuration's.
        remarks: What the records of its rows call for (`provenance.remarks`).
        columns: What `avg` is the mean of.
    """
    lines = [METHOD_NOTE.format(average=", ".join(columns.average)), *remarks, PAPER_NOTE]
    return [*lines, LAPTOP_NOTE] if scale == "laptop" else lines


def _own(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The last booster that learned from a cell's generator alone, filmed by that generator."""
    place = cell.arm.generator, cell.arm.set
    alone = [
        one for one in cells if (one.arm.generator, one.arm.set) == place and one.learned_from == (cell.arm.generator,)
    ]
    return max(alone, key=lambda one: one.stages, default=None)
