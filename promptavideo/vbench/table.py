"""The tables that people read of VBench: Table 8 of the paper, and the one of its ablations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from promptavideo.errors import InputError
from promptavideo.resampling import BootstrapConfig
from promptavideo.seeds import derive
from promptavideo.tables import (
    LAPTOP_NOTE,
    PAPER_COLUMNS,
    Arm,
    Columns,
    interval,
    prompt_means,
    read_printed,
)
from promptavideo.vbench.config import ABLATION
from promptavideo.vbench.dimensions import DIMENSIONS, LIST_PROMPTS, TOTALS, totals
from promptavideo.vbench.listing import Listing
from promptavideo.vbench.videos import LONG_SECONDS

NUMBERS = (*TOTALS, *DIMENSIONS)
INTERVALS = tuple(f"{name}_ci_{end}" for name in NUMBERS for end in ("low", "high"))
COLUMNS = ("generator", "refiner", "videos", *NUMBERS, *INTERVALS, "source", "part")
"""The columns of vbench.csv. `source` is "paper" for rows that the paper printed, else "measured"; `part` says how much
of VBench's list was judged where it is not all of it."""

SHOWN = ("generator", "refiner", "videos", *NUMBERS, "source")
"""The columns that people read; the intervals stand in the CSV."""

PERCENT = 100.0
MEASURED, PAPER = "measured", "paper"

METHOD_NOTE = (
    "All scores are percent, as VBench 0.1.5 averages them; total, quality and semantic are made of them by VBench's "
    "normalisation and weights. The CSV adds 95 % bootstrap intervals over prompts."
)
ABLATION_NOTE = (
    "{average} and their mean avg are on a 0-5 scale, VBench's two dimensions are percent. The CSV adds 95 % bootstrap "
    "intervals over prompts."
)
PAPER_NOTE = 'Rows with source "paper" are the numbers printed in Table 8 of Prompt-A-Video (arXiv 2412.15156).'
MISSING_NOTE = (
    "Empty cells were not measured: {missing} need networks whose checkpoints were not asked for here, or prompts of "
    "VBench's own list (evaluation.sets.{set}.vbench in the configuration). A total that lacks a dimension is empty."
)
LEFT_OUT_NOTE = (
    "VBench was left out of this run, since its environment could not be made on this machine; the command "
    "make .venv-vbench/run shows what fails."
)
CUSTOM_NOTE = (
    "The measured videos show this run's own prompts, not those of VBench's list, so no measured number compares with "
    "the paper's or with a leaderboard."
)
PART_NOTE = (
    "A part of VBench's list was judged, {part}, so no measured number compares with a whole list's, and the paper's "
    "rows are left out."
)
LONG_NOTE = "Videos of {generators} last {seconds:g} s or more, for which VBench-Long is the benchmark."


@dataclass(frozen=True, eq=False)
class Judged:
    """One row to be: a refiner's VBench scores for a generator."""

    generator: str
    refiner: str
    scores: pd.DataFrame
    """A `schemas.VBENCH_SCORES` table."""
    listing: Listing


def part(row: Judged) -> str:
    """How much of VBench's list a row was judged on, such as `128 of 946 prompts`; "" for all of it, or for others."""
    if row.listing.mode == "custom":
        return ""
    judged = len({video.row for video in row.listing.videos})
    return f"{judged} of {LIST_PROMPTS} prompts" if judged < LIST_PROMPTS else ""


def vbench_table(rows: Sequence[Judged], bootstrap: BootstrapConfig) -> pd.DataFrame:
    """Averages and totals of each row with intervals, in percent.

    A dimension that was not judged leaves its cells and those of the totals that need it empty.

    Args:
        rows: The rows, in the order wanted.
        bootstrap: Resampling settings. Prompts are resampled within each group that VBench judges for the same
            dimensions, as VBench fixes how many each has; those of one prompt stay together. Intervals are percentile
            intervals, since a ratio of sums over several groups has no BCa interval here.

    Returns:
        A table with the columns `COLUMNS`.

    Raises:
        InputError: Two rows of a generator were judged on videos of another size, length or frame rate, or for other
            dimensions or prompts.
    """
    _check_alike(rows)
    return pd.DataFrame([_row(row, bootstrap) for row in rows], columns=list(COLUMNS))


def with_paper_rows(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the paper's own rows (Table 8) below ours, what nobody published empty.

    Raises:
        InputError: The CSV is missing or lacks a column.
    """
    paper = read_printed(path, NUMBERS).assign(source=PAPER).reindex(columns=list(COLUMNS))
    whole = pd.concat([table.astype(object), paper.astype(object)], ignore_index=True)
    return whole.astype({"videos": "Int64", **dict.fromkeys((*NUMBERS, *INTERVALS), float)})


def ablation_shown(columns: Columns = PAPER_COLUMNS) -> list[str]:
    """The columns of vbench100.csv that people read; each number's interval follows them there."""
    return ["generator", "refiner", "videos", *columns.average, "avg", *ABLATION]


def ablation_table(
    rows: Sequence[Judged], arms: Sequence[Arm], bootstrap: BootstrapConfig, columns: Columns = PAPER_COLUMNS
) -> pd.DataFrame:
    """The metrics whose mean is `avg` (0-5) beside two of VBench's dimensions (percent), for the ablations' prompts.

    Args:
        rows: VBench's scores.
        arms: The rewards of the same batches, in the same order.
        bootstrap: Resampling settings.
        columns: What the rewards' own table shows.

    Returns:
        A table with the columns `ablation_shown`, and an interval of each number.

    Raises:
        InputError: The two were not made of the same videos.
    """
    _check_alike(rows)
    made = []
    for row, arm in zip(rows, arms, strict=True):
        if set(row.scores["key"]) != set(arm.scores["key"]):
            raise InputError(f"{row.generator}/{row.refiner}: VBench and the rewards judged other videos; run again")
        ours = prompt_means(arm, columns)
        values = {name: ours[name] for name in (*columns.average, "avg")}
        for name in ABLATION:
            part = row.scores[row.scores["dimension"] == name]
            values[name] = PERCENT * part.groupby("prompt_id")["value"].mean().sort_index()
        cells: dict[str, object] = {"generator": row.generator, "refiner": row.refiner, "videos": len(arm.scores)}
        for name, value in values.items():
            cells[name] = float(value.mean()) if len(value) else None
            cells |= interval(name, value, bootstrap, arm)
        made.append(cells)
    shown = ablation_shown(columns)
    intervals = [f"{name}_ci_{end}" for name in shown[3:] for end in ("low", "high")]
    return pd.DataFrame(made, columns=[*shown, *intervals])


def _row(row: Judged, bootstrap: BootstrapConfig) -> dict[str, object]:
    groups = _groups(row.scores)
    values = _averages(groups, [group.places[None] for group in groups])[:, 0]
    low, high = _intervals(groups, bootstrap)
    cells: dict[str, object] = {"generator": row.generator, "refiner": row.refiner}
    cells["videos"] = row.scores["key"].nunique()
    for place, name in enumerate(NUMBERS):
        cells[name] = PERCENT * float(values[place])
        cells |= {f"{name}_ci_low": PERCENT * float(low[place]), f"{name}_ci_high": PERCENT * float(high[place])}
    return cells | {"source": MEASURED, "part": part(row) or None}


def notes(
    kind: Literal["main", "ablation"],
    rows: Sequence[Judged],
    set_name: str,
    scale: Literal["laptop", "paper"],
    remarks: Sequence[str] = (),
    columns: Columns = PAPER_COLUMNS,
) -> list[str]:
    """The notes that belong under a table of VBench.

    Args:
        kind: Which table.
        rows: What it was made of; none where VBench was left out.
        set_name: The evaluation set.
        scale: The configuration's scale.
        remarks: What the records of its rows call for (`provenance.remarks`).
        columns: What the rewards' own table shows.
    """
    parts = list(dict.fromkeys(part(row) for row in rows if part(row)))
    if kind == "ablation":
        lines = [ABLATION_NOTE.format(average=", ".join(columns.average))]
    else:
        lines = [METHOD_NOTE, PART_NOTE.format(part=", ".join(parts)) if parts else PAPER_NOTE]
    lines += remarks
    judged = set().union(*(row.scores["dimension"] for row in rows))
    missing = [name for name in DIMENSIONS if name not in judged]
    if not rows:
        lines.append(LEFT_OUT_NOTE)
    elif missing and kind == "main":
        lines.append(MISSING_NOTE.format(missing=", ".join(missing), set=set_name))
    if kind == "main" and any(row.listing.mode == "custom" for row in rows):
        lines.append(CUSTOM_NOTE)
    shapes = {row.generator: _shape(row.listing) for row in rows}
    if len(set(shapes.values())) > 1:
        told = "; ".join(f"{name} {shape}" for name, shape in shapes.items())
        lines.append(f"Generators film in different ways, on which dynamic_degree and others depend: {told}.")
    if long := [row.generator for row in rows if row.listing.frames / row.listing.fps >= LONG_SECONDS]:
        lines.append(LONG_NOTE.format(generators=", ".join(dict.fromkeys(long)), seconds=LONG_SECONDS))
    if scale == "laptop":
        lines.append(LAPTOP_NOTE)
    return lines


@dataclass(frozen=True, eq=False)
class _Group:
    """Prompts that are judged for the same dimensions: sums over each prompt's videos, [prompts, dimensions]."""

    weighted: pd.DataFrame
    weights: pd.DataFrame

    @property
    def places(self) -> NDArray[np.int64]:
        """The places of the prompts."""
        return np.arange(len(self.weights))


def _groups(scores: pd.DataFrame) -> list[_Group]:
    known = scores.assign(
        weighted=(scores["value"] * scores["weight"]).fillna(0.0),
        weights=scores["weight"].where(scores["value"].notna(), 0).astype(float),
    )
    weighted, weights = (
        known.pivot_table(column, "row", "dimension", aggfunc="sum") for column in ("weighted", "weights")
    )
    patterns = [tuple(weights.columns[judged]) for judged in weights.notna().to_numpy()]
    groups = []
    for names in sorted(set(patterns)):
        rows = [one == names for one in patterns]
        groups.append(_Group(weighted.loc[rows, list(names)], weights.loc[rows, list(names)]))
    return groups


def _averages(groups: Sequence[_Group], drawn: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """`NUMBERS` [numbers, samples] of samples of prompts, 0-1; NaN where a dimension was not judged.

    Args:
        groups: The prompts.
        drawn: Places of the drawn prompts of each group [samples, prompts].
    """
    values: dict[str, NDArray[np.float64]] = {}
    samples = drawn[0].shape[0]
    for name in DIMENSIONS:
        weighted, weights = np.zeros(samples), np.zeros(samples)
        for group, places in zip(groups, drawn, strict=True):
            if name in group.weighted:
                weighted += group.weighted[name].to_numpy(float)[places].sum(axis=-1)
                weights += group.weights[name].to_numpy(float)[places].sum(axis=-1)
        values[name] = np.divide(weighted, weights, out=np.full(samples, np.nan), where=weights > 0)
    values |= totals(values)
    return np.stack([values[name] for name in NUMBERS])


def _intervals(groups: Sequence[_Group], bootstrap: BootstrapConfig) -> NDArray[np.float64]:
    """The low and the high ends of `NUMBERS` [2, numbers], 0-1; NaN where there is no spread.

    The same prompts are drawn for all rows of a table.
    """
    ends = np.full((2, len(NUMBERS)), np.nan)
    known = np.isfinite(_averages(groups, [group.places[None] for group in groups])[:, 0])
    if min(len(group.places) for group in groups) < 2 or not known.any():
        return ends
    drawn = stats.bootstrap(
        [group.places for group in groups],
        lambda *drawn, axis: _averages(groups, [np.atleast_2d(places) for places in drawn])[known],
        vectorized=True,
        n_resamples=bootstrap.resamples,
        batch=1000,  # bounds the memory
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(derive(bootstrap.seed, "interval", "vbench")),
    ).bootstrap_distribution
    # A sample may hold no prompt at all whose colour could be judged; the others carry the interval.
    ends[:, known] = np.nanpercentile(drawn, [2.5, 97.5], axis=-1)
    return np.where(ends[1] - ends[0] > 1e-12, ends, np.nan)


def _shape(listing: Listing) -> str:
    """What dimensions such as dynamic_degree depend on."""
    return f"{listing.width}x{listing.height}, {listing.frames} frames at {listing.fps:g} a second"


def _check_alike(rows: Sequence[Judged]) -> None:
    """Refuse to compare refiners of one generator on videos that were filmed or judged in different ways."""
    first: dict[str, Judged] = {}
    for row in rows:
        other = first.setdefault(row.generator, row)
        ours, theirs = _shape(row.listing), _shape(other.listing)
        if (ours, row.listing.fps) != (theirs, other.listing.fps):  # the text rounds
            raise InputError(
                f"{row.generator}: the videos of {other.refiner} are {theirs}, those of {row.refiner} are {ours}; "
                "VBench's scores depend on that, so film all in one way"
            )
        for what in ("dimension", "row"):
            if set(row.scores[what]) != set(other.scores[what]):
                raise InputError(
                    f"{row.generator}: {row.refiner} and {other.refiner} were judged for other {what}s; run again"
                )
