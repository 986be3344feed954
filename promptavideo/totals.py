"""Adding the seven scores of a candidate up, and holding them against thresholds."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from promptavideo.errors import InputError, ScoreError
from promptavideo.schemas import DIMENSIONS
from promptavideo.settings import Section

Scale = Literal["raw", "five"]
"""Raw reward values (columns `VQ` ... `MPS`), or the paper's 0-5 scale (columns `VQ_5` ... `MPS_5`)."""


class Weights(Section):
    """The weight of each dimension in a total; the paper adds all metrics up, so all weights are 1 by default."""

    VQ: float = Field(default=1.0, ge=0)
    TC: float = Field(default=1.0, ge=0)
    DD: float = Field(default=1.0, ge=0)
    TVA: float = Field(default=1.0, ge=0)
    FC: float = Field(default=1.0, ge=0)
    AES: float = Field(default=1.0, ge=0)
    MPS: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _some_weight(self) -> "Weights":
        if not any(getattr(self, dimension) for dimension in DIMENSIONS):
            raise ValueError("all weights are 0: every total would be the same")
        return self


class Thresholds(Section):
    """A score that each dimension must exceed; a dimension left out (null) is not looked at."""

    VQ: float | None = None
    TC: float | None = None
    DD: float | None = None
    TVA: float | None = None
    FC: float | None = None
    AES: float | None = None
    MPS: float | None = None

    def given(self) -> dict[str, float]:
        """The thresholds that are set, {dimension: value}, in the paper's order."""
        values = {dimension: getattr(self, dimension) for dimension in DIMENSIONS}
        return {dimension: value for dimension, value in values.items() if value is not None}


@dataclass(frozen=True)
class Selected:
    """A table made from scores, and lines for people on what was left out and why."""

    table: pd.DataFrame
    report: tuple[str, ...]


def total(scores: pd.DataFrame, weights: Weights, scale: Scale = "five") -> pd.Series:
    """The weighted sum of the seven dimensions of each row, with the index of `scores`.

    Raises:
        InputError: A column is missing.
        ScoreError: A score is not a finite number.
    """
    columns = [_column(dimension, scale) for dimension in DIMENSIONS]
    missing = [column for column in columns if column not in scores]
    if missing:
        raise InputError(f"the scores lack the columns {', '.join(missing)}; a total needs all seven dimensions")
    values = scores[columns].to_numpy(float)
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        row, column = broken[0]
        names = [f"{name} {scores[name].iloc[row]}" for name in ("prompt_id", "candidate") if name in scores]
        raise ScoreError(
            f"{columns[column]} of {', '.join(names) or f'row {row}'} is {values[row, column]}: score that video again"
        )
    # Column by column, since a matrix product may round by the number of rows.
    weighted = [getattr(weights, dimension) * values[:, index] for index, dimension in enumerate(DIMENSIONS)]
    return pd.Series(sum(weighted[1:], weighted[0]), index=scores.index, name="total")


def candidate_means(scores: pd.DataFrame, weights: Weights, scale: Scale = "five") -> pd.DataFrame:
    """Each candidate once, its scores averaged over the replicates.

    Args:
        scores: Rows of `schemas.SCORES`, in any order.
        weights: For the total.
        scale: The scale of the returned scores and of the total.

    Returns:
        Columns prompt_id, prompt, candidate, refined, `VQ` ... `MPS` (on `scale`) and total, sorted by prompt_id and
        candidate.

    Raises:
        InputError: A column is missing, a video stands there twice, or a candidate has two texts.
        ScoreError: A score is not a finite number.
    """
    total(scores, weights, scale)  # names a broken score by its row, before means hide it
    identity = ["prompt_id", "candidate", "replicate"]
    twice = scores[scores.duplicated(identity)]
    if len(twice):
        raise InputError(f"the scores hold a video twice: {twice[identity].iloc[0].to_dict()}")
    groups = scores.sort_values(identity).groupby(["prompt_id", "candidate"], sort=True)
    texts = groups[["prompt", "refined"]].nunique()
    unclear = texts[(texts != 1).any(axis=1)]
    if len(unclear):
        prompt_id, candidate = unclear.index[0]
        raise InputError(f"prompt_id {prompt_id}, candidate {candidate}: its replicates have different texts")
    means = groups.agg(
        prompt=("prompt", "first"),
        refined=("refined", "first"),
        **{dimension: (_column(dimension, scale), "mean") for dimension in DIMENSIONS},
    ).reset_index()
    means["total"] = total(means, weights, "raw")
    return means[["prompt_id", "prompt", "candidate", "refined", *DIMENSIONS, "total"]]


def passes(candidates: pd.DataFrame, thresholds: Thresholds) -> pd.DataFrame:
    """Whether each candidate (as `candidate_means` gives it) exceeds each threshold that is set, a column each."""
    return pd.DataFrame(
        {dimension: candidates[dimension] > value for dimension, value in thresholds.given().items()},
        index=candidates.index,
    )


def rejections(passed: pd.DataFrame, thresholds: Thresholds) -> list[str]:
    """How many candidates each threshold alone rejects, a line each, for reports and errors."""
    return [
        f"{dimension} > {value:g} rejects {int((~passed[dimension]).sum())} of {len(passed)} candidates"
        for dimension, value in thresholds.given().items()
    ]


def _column(dimension: str, scale: Scale) -> str:
    return f"{dimension}_5" if scale == "five" else dimension
