"""Adding the metrics of a candidate up, and holding them against thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from promptavideo.errors import InputError, ScoreError
from promptavideo.metrics import Metric, Objective

Scale = Literal["raw", "five"]
"""Raw values (columns `VQ`, ...), or the 0-5 scale (columns `VQ_5`, ...)."""


Weights = dict[str, Annotated[float, Field(ge=0)]]
"""The weight of metrics in a total, 1 where none is given: the paper adds all metrics up."""

Thresholds = dict[str, float]
"""What metrics must exceed: on the scale of the total, or raw for metrics outside the objective."""


@dataclass(frozen=True)
class Selected:
    """A table made from scores, and lines for people on what was left out and why."""

    table: pd.DataFrame
    report: tuple[str, ...]


def total(scores: pd.DataFrame, objective: Objective, weights: Mapping[str, float], scale: Scale = "five") -> pd.Series:
    """The weighted sum of the objective's metrics of each row, with the index of `scores`.

    Raises:
        ScoreError: A score is not a finite number.
    """
    columns = [_column(metric, scale) for metric in objective]
    values = scores[columns].to_numpy(float)
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        row, column = broken[0]
        names = [f"{name} {scores[name].iloc[row]}" for name in ("prompt_id", "candidate") if name in scores]
        raise ScoreError(
            f"{columns[column]} of {', '.join(names) or f'row {row}'} is {values[row, column]}: score that video again"
        )
    # Column by column, since a matrix product may round by the number of rows.
    weighted = [weights.get(metric.name, 1.0) * values[:, index] for index, metric in enumerate(objective)]
    return pd.Series(sum(weighted[1:], weighted[0]), index=scores.index, name="total")


def candidate_means(
    scores: pd.DataFrame,
    objective: Objective,
    weights: Mapping[str, float],
    scale: Scale = "five",
    others: Sequence[str] = (),
) -> pd.DataFrame:
    """Each candidate once, its scores averaged over the replicates.

    Args:
        scores: Rows of `schemas.scores`, in any order.
        objective: What the total adds up.
        weights: For the total.
        scale: The scale of the returned scores and of the total.
        others: Further metrics of `scores` to return, raw.

    Returns:
        Columns prompt_id, prompt, candidate, refined, each metric of the objective (on `scale`), each other one, and
        total, sorted by prompt_id and candidate.

    Raises:
        InputError: A video stands there twice.
        ScoreError: A score is not a finite number.
    """
    total(scores, objective, weights, scale)  # names a broken score by its row, before means hide it
    identity = ["prompt_id", "candidate", "replicate"]
    twice = scores[scores.duplicated(identity)]
    if len(twice):
        raise InputError(f"the scores hold a video twice: {twice[identity].iloc[0].to_dict()}")
    groups = scores.sort_values(identity).groupby(["prompt_id", "candidate"], sort=True)
    means = groups.agg(
        prompt=("prompt", "first"),
        refined=("refined", "first"),
        **{metric.name: (_column(metric, scale), "mean") for metric in objective},
        **{name: (name, "mean") for name in others},
    ).reset_index()
    means["total"] = total(means, objective, weights, "raw")
    return means


def passes(candidates: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Whether each candidate (as `candidate_means` gives it) exceeds each threshold that is set, a column each."""
    return candidates[[*thresholds]] > pd.Series(thresholds, dtype=float)


def rejections(passed: pd.DataFrame, thresholds: Mapping[str, float]) -> list[str]:
    """How many candidates each threshold alone rejects, a line each, for reports and errors."""
    return [
        f"{name} > {value:g} rejects {int((~passed[name]).sum())} of {len(passed)} candidates"
        for name, value in thresholds.items()
    ]


def outside(thresholds: Mapping[str, float], objective: Objective) -> list[str]:
    """The metrics of thresholds that are not in the objective."""
    return [name for name in thresholds if name not in {metric.name for metric in objective}]


def _column(metric: Metric, scale: Scale) -> str:
    return metric.five if scale == "five" else metric.name
