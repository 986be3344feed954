"""What each stage of a chain of boosters gains, what its texts look like, and what it costs: one row a stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from promptavideo.phrases import repeats
from promptavideo.price import Price
from promptavideo.resampling import BootstrapConfig, paired_p_value
from promptavideo.tables import TEXT_COLUMNS, Arm, Columns, interval, prompt_means, videoscore_table
from promptavideo.text import text_key

DYNAMIC = "DD"
"""The metric that the paper warns may fall while the others rise."""

STAGE_NOTE = (
    "step is the paired difference of avg to the stage before, which the row above shows, with its 95 % interval and "
    "its own p-value. repeated is the share of texts that say a phrase of two or more words with content twice. "
    "distinct is the mean share of different texts among the candidates of a prompt that a stage learned from."
)
PRICE_NOTE = (
    "filmed counts the videos filmed for a stage to learn from, filmed_total those for it and for all that it goes on "
    "from, each video once; a rewrite that has seen no scores films none. The hours are those of filming ({devices}), "
    "by the seconds that its jobs recorded, without loading, judging and training. The gains by price divide the "
    "whole gain by the whole price."
)
STEP = ("before", "step", "step_ci_low", "step_ci_high", "step_p_value")
TEXTS = ("repeated", "distinct")
SPENT = ("filmed", "filmed_total", "gain_per_1000_videos", "hours_total", "gain_per_hour")


@dataclass(frozen=True, eq=False)
class Stage:
    """One row to be."""

    arm: Arm
    candidates: Sequence[pd.DataFrame]
    """The prompts tables of the candidates that it learned from, one a track; none if it learned from no candidates."""
    price: Price
    """Of all that was filmed for it."""
    own: int
    """Videos of it that were not filmed for an earlier stage."""


def convergence_table(stages: Sequence[Stage], bootstrap: BootstrapConfig, columns: Columns) -> pd.DataFrame:
    """The rows of `videoscore_table`, and beside them the step from the stage before, the texts and the price.

    Args:
        stages: In order, those of one generator and set together, the original prompts first.
        bootstrap: Resampling settings.
        columns: What is shown of the scores.

    Raises:
        InputError: A stage was not filmed for the same prompts and replicates as its originals.
        ScoreError: A score is not a finite number.
    """
    table = videoscore_table([stage.arm for stage in stages], bootstrap, columns)
    earlier: dict[tuple[str, str], list[Stage]] = {}
    rows = []
    for stage, gain in zip(stages, table["gain"].tolist(), strict=True):
        group = earlier.setdefault((stage.arm.generator, stage.arm.set), [])
        rows.append(_row(stage, group, gain, bootstrap, columns))
        group.append(stage)
    return table.join(pd.DataFrame(rows, columns=[*STEP, *_dynamic(columns), *TEXTS, *SPENT]))


def shown(columns: Columns) -> list[str]:
    """The columns that people read."""
    reported = [name for metric in columns.reported for name in (metric.name, f"{metric.name}_gain")]
    dynamic = [DYNAMIC, *_dynamic(columns)[:1]] if DYNAMIC in columns.numbers else []
    gain = ["avg", "gain", "gain_ci_low", "gain_ci_high"]
    return [*TEXT_COLUMNS, *gain, *STEP, *dynamic, *reported, "words", *TEXTS, *SPENT]


def distinct(candidates: Sequence[pd.DataFrame]) -> float:
    """The mean, over prompts, of the share of different texts among a prompt's candidates.

    Args:
        candidates: `schemas.PROMPTS` tables; texts that differ in case, spacing or a final full stop are the same.
    """
    shares = []
    for table in candidates:
        texts = table.drop_duplicates(["prompt_id", "candidate"])
        keys = texts["refined"].map(text_key).groupby(texts["prompt_id"])
        shares.append(keys.nunique() / keys.size())
    return float(pd.concat(shares).mean())


def repeated(scores: pd.DataFrame) -> float:
    """The share of texts that say a phrase twice, over prompts."""
    texts = scores.drop_duplicates("prompt_id")["refined"]
    return float(texts.map(lambda text: repeats(text) is not None).mean())


def _dynamic(columns: Columns) -> list[str]:
    return [f"{DYNAMIC}_gain{end}" for end in ("", "_ci_low", "_ci_high")] if DYNAMIC in columns.numbers else []


def _row(
    stage: Stage, earlier: Sequence[Stage], gain: float, bootstrap: BootstrapConfig, columns: Columns
) -> dict[str, object]:
    arm, price = stage.arm, stage.price
    row: dict[str, object] = {
        "repeated": repeated(arm.scores),
        "filmed": stage.own,
        "filmed_total": price.videos,
        "gain_per_1000_videos": 1000 * gain / price.videos if price.videos else math.nan,
        "hours_total": price.hours,
        "gain_per_hour": gain / price.hours if price.hours else math.nan,
    }
    if stage.candidates:
        row["distinct"] = distinct(stage.candidates)
    if earlier:
        means, last = prompt_means(arm, columns), earlier[-1].arm
        steps = means["avg"] - prompt_means(last, columns)["avg"]
        row |= {"before": last.refiner, "step": float(steps.mean()), **interval("step", steps, bootstrap, arm)}
        row["step_p_value"] = paired_p_value(steps.to_numpy(float), bootstrap, arm.set)
        for name in _dynamic(columns.of(arm.scores))[:1]:
            gains = means[DYNAMIC] - prompt_means(earlier[0].arm, columns)[DYNAMIC]
            row |= {name: float(gains.mean()), **interval(name, gains, bootstrap, arm)}
    return row
