"""The table of negative prompts: the rewards, and the VBench dimensions of the paper's Table 10, with paired gains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from promptavideo.resampling import BootstrapConfig
from promptavideo.tables import (
    LAPTOP_NOTE,
    PAPER_COLUMNS,
    PAPER_SET,
    Arm,
    Columns,
    interval,
    read_printed,
    videoscore_table,
)
from promptavideo.text import count_words

NONE = "none"
"""What stands for the negative prompts of texts that have none of their own."""

DIMENSIONS = {
    "SC": "subject_consistency",
    "BC": "background_consistency",
    "AQ": "aesthetic_quality",
    "IQ": "imaging_quality",
    "MS": "motion_smoothness",
    "DD": "dynamic_degree",
}
"""VBench's dimensions by their names in the paper's table."""

TEXT = ("generator", "set", "refiner", "negative")
PRINTED_GENERATOR = "CogVideoX"
"""Which the paper's table is of; its file does not say so."""

METHOD_NOTE = (
    "All rows of a generator, a set and a refiner film the same texts with the same seeds. negative says which "
    "negative prompts go with them (none: the generator's own setting counts), words is the mean length of these. gain "
    "and p_value are of the paired difference of avg, the mean of {average} on a 0-5 scale, to the row none; intervals "
    "are 95 % bootstrap intervals over prompts, p-values two-sided paired permutation tests, not corrected for the "
    "number of rows."
)
VBENCH_NOTE = (
    "VBench's dimensions are 0-1; the CSV adds their intervals, and their paired gains to the row none with intervals."
)
UNJUDGED_NOTE = "Empty cells of VBench's dimensions were not judged in this run."
PAPER_NOTE = (
    'Rows with set "paper" are the numbers printed in Table 10 of Prompt-A-Video (arXiv 2412.15156), of CogVideoX; '
    "cells that nobody published are empty."
)


@dataclass(frozen=True, eq=False)
class NegativeArm:
    """One row to be."""

    texts: str
    """The refiner of its texts."""
    negative: str
    """Which negative prompts go with them, or `NONE`."""
    arm: Arm
    """The rewards."""
    vbench: pd.DataFrame | None
    """A `schemas.VBENCH_SCORES` table, where VBench judged the set."""


def negative_table(
    arms: Sequence[NegativeArm], bootstrap: BootstrapConfig, columns: Columns = PAPER_COLUMNS
) -> pd.DataFrame:
    """Means of each row with intervals, and its paired gains to `NONE` of the same generator, set and texts.

    Args:
        arms: The rows, in the order wanted.
        bootstrap: Resampling settings.
        columns: What the rewards' own table shows.

    Returns:
        One row an arm: the rewards' columns as `tables.videoscore_table` has them, with `words` of the negative
        prompts, then each dimension of `DIMENSIONS` with its interval, its gain and the gain's interval.

    Raises:
        InputError: A row was not filmed for the same prompts and replicates as its `NONE`.
        ScoreError: A score is not a finite number.
    """
    rows = []
    for one in arms:
        group = [other for other in arms if _group(other) == _group(one)]
        base = next((other for other in group if other.negative == NONE), None)
        pair = [base, one] if base and base is not one else [one]
        named = [replace(other.arm, refiner=other.negative) for other in pair]
        cells = videoscore_table(named, bootstrap, columns, NONE).iloc[-1].to_dict()
        cells |= {"refiner": one.texts, "negative": one.negative, "words": _words(one.arm)}
        rows.append(cells | _dimensions(one, base if base is not one else None, bootstrap))
    return _typed(pd.DataFrame(rows, columns=list(all_columns(columns))))


def all_columns(columns: Columns = PAPER_COLUMNS) -> tuple[str, ...]:
    """The columns of the table, in order."""
    first = [name for name in columns.all if name not in TEXT]
    ends = ("", "_ci_low", "_ci_high", "_gain", "_gain_ci_low", "_gain_ci_high")
    return (*TEXT, *first, *(f"{name}{end}" for name in DIMENSIONS.values() for end in ends))


def with_paper_rows(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the paper's own rows (Table 10) below ours, what nobody published empty.

    Raises:
        InputError: The CSV is missing or lacks a column.
    """
    printed = read_printed(path, [*DIMENSIONS], ("refiner", "negative")).rename(columns=DIMENSIONS)
    paper = printed.assign(generator=PRINTED_GENERATOR, set=PAPER_SET).reindex(columns=table.columns)
    return pd.concat([table, _typed(paper)], ignore_index=True)


def shown(table: pd.DataFrame) -> list[str]:
    """The columns that people read: of VBench's dimensions the means alone."""
    every = map(str, table.columns)
    return [name for name in every if name in DIMENSIONS.values() or not name.startswith((*DIMENSIONS.values(),))]


def notes(
    arms: Sequence[NegativeArm],
    scale: Literal["laptop", "paper"],
    remarks: Sequence[str] = (),
    columns: Columns = PAPER_COLUMNS,
) -> list[str]:
    """The notes that belong under the table.

    Args:
        arms: What it was made of.
        scale: The configuration's scale.
        remarks: What the records of its rows call for (`provenance.remarks`).
        columns: What the rewards' own table shows.
    """
    judged = [set() if one.vbench is None else {*one.vbench["dimension"]} for one in arms]
    lines = [METHOD_NOTE.format(average=", ".join(columns.average)), VBENCH_NOTE]
    if any(not {*DIMENSIONS.values()} <= found for found in judged):
        lines.append(UNJUDGED_NOTE)
    lines += [*remarks, PAPER_NOTE]
    return [*lines, LAPTOP_NOTE] if scale == "laptop" else lines


def _group(one: NegativeArm) -> tuple[str, str, str]:
    return one.arm.generator, one.arm.set, one.texts


def _words(arm: Arm) -> float:
    """The mean length of the negative prompts of a row's prompts; 0 of one that has none."""
    negatives = arm.scores.drop_duplicates("prompt_id")["negative"]
    return float(negatives.map(lambda text: count_words(text) if isinstance(text, str) else 0).mean())


def _dimensions(one: NegativeArm, base: NegativeArm | None, bootstrap: BootstrapConfig) -> dict[str, float]:
    """The cells of VBench's dimensions; a gain is over the prompts in which VBench judged both rows."""
    cells: dict[str, float] = {}
    for name in DIMENSIONS.values():
        values = _prompt_means(one, name)
        if values is None:
            continue
        cells |= {name: float(values.mean()), **interval(name, values, bootstrap, one.arm)}
        before = _prompt_means(base, name) if base else None
        if before is not None:
            gains = (values - before).dropna()
            cells |= {f"{name}_gain": float(gains.mean()), **interval(f"{name}_gain", gains, bootstrap, one.arm)}
    return cells


def _prompt_means(one: NegativeArm, dimension: str) -> pd.Series | None:
    """VBench's results of a dimension, a mean a prompt, by sorted prompt_id; None if it was not judged."""
    if one.vbench is None or not (found := one.vbench["dimension"] == dimension).any():
        return None
    return one.vbench[found].groupby("prompt_id")["value"].mean().sort_index()


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = [name for name in table if name not in (*TEXT, "videos")]
    return table.astype({"videos": "Int64", **dict.fromkeys(numbers, "float64")})
