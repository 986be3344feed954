"""The table by styles: HPSv2's benchmark of text-to-image generators, with paired gains over the original prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from promptavideo.errors import InputError
from promptavideo.metrics import HPS
from promptavideo.resampling import BootstrapConfig, paired_p_value, strata_interval
from promptavideo.tables import BASELINE, LAPTOP_NOTE, PAPER_SET, TEXT_COLUMNS, Arm, check_same_videos, read_printed
from promptavideo.text import count_words

GROUPS = 10
"""Into which HPSv2's code parts a style's images, in the order of its file."""
STYLES = ("anime", "concept-art", "paintings", "photo")
"""Those of HPSv2's own prompts (HPDv2)."""
AVERAGE = (
    "mean", "mean_ci_low", "mean_ci_high", "gain", "gain_ci_low", "gain_ci_high", "p_value", "tokens_seen", "words"
)  # fmt: skip
"""The columns behind those of the styles."""

METHOD_NOTE = (
    "All scores are HPS, the cosine of an image and the user's prompt times 100, and compare with others of version "
    "2.1 alone. A style's column is the mean over its prompts, mean that over the styles. The CSV adds each style's "
    f"standard deviation (population) of the means of {GROUPS} consecutive groups of its prompts. HPSv2's own code "
    "takes both from these groups, which gives the same numbers where all are equal. Intervals are 95 % bootstrap "
    "intervals over prompts, drawn within their style. gain is the paired difference of mean to the original prompts; "
    "p_value is a two-sided paired permutation test, not corrected for the number of rows. tokens_seen is the share "
    "of a text's tokens that the generator's text encoder read, the mean over texts, and empty where that is not "
    "known. words is the mean length of the refined texts."
)
GROUPS_NOTE = "A style has {prompts} prompts here, and a group {sizes}; HPSv2's own prompts are 800 a style."
ANCHOR_NOTE = (
    "HPSv2's authors print for SDXL Base 0.9 by version 2.1: anime 32.84, concept-art 31.36, paintings 30.86, photo "
    "27.48."
)
PAPER_NOTE = (
    'The row with set "paper" is empty: Prompt-A-Video (arXiv 2412.15156) says that its method carries over to '
    "text-to-image and is better than Promptist and PAE on HPSv2, and neither that table nor the image model is in any "
    "source of this project."
)


@dataclass(frozen=True, eq=False)
class HpsArm:
    """One row to be."""

    arm: Arm
    """Its scores, with raw HPS."""
    prompts: pd.DataFrame
    """The `schemas.PROMPT_SET` table of its set, with styles."""
    styles: Sequence[str]
    """The styles of these prompts, in the order of columns."""
    tokens_seen: float | None = None
    """The share of its texts' tokens that the generator's encoder read, if that is known."""

    def __str__(self) -> str:
        return str(self.arm)


def hps_table(arms: Sequence[HpsArm], bootstrap: BootstrapConfig) -> pd.DataFrame:
    """Mean HPS of each row by style, and its paired gain over `BASELINE` of the same generator and set.

    Every mean is over prompts, after the mean over a prompt's replicates.

    Args:
        arms: The rows, in the order wanted.
        bootstrap: Resampling settings.

    Returns:
        One row an arm with the columns of `all_columns`; those of styles that its set does not have are empty.

    Raises:
        InputError: A row was not made for the same prompts and replicates as its baseline, or not for those of its set.
    """
    baselines = {(one.arm.generator, one.arm.set): one for one in arms if one.arm.refiner == BASELINE}
    rows = [_row(one, baselines.get((one.arm.generator, one.arm.set)), bootstrap) for one in arms]
    return _typed(pd.DataFrame(rows, columns=all_columns(_styles(arms))))


def all_columns(styles: Sequence[str]) -> list[str]:
    """The columns of the table, in order."""
    return [*TEXT_COLUMNS, "images", *(f"{style}{end}" for style in styles for end in ("", "_std")), *AVERAGE]


def shown(table: pd.DataFrame) -> list[str]:
    """The columns that people read: all but the standard deviations."""
    return [name for name in map(str, table.columns) if not name.endswith("_std")]


def with_paper_row(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the paper's own row below ours, in which nothing is published.

    Raises:
        InputError: The CSV is missing or lacks a column.
    """
    printed = read_printed(path, [*STYLES, "mean"])
    paper = printed.assign(set=PAPER_SET).reindex(columns=table.columns)
    return pd.concat([table, _typed(paper)], ignore_index=True)


def notes(arms: Sequence[HpsArm], scale: Literal["laptop", "paper"], remarks: Sequence[str] = ()) -> list[str]:
    """The notes that belong under the table.

    Args:
        arms: What it was made of.
        scale: The configuration's scale.
        remarks: What the records of its rows call for (`Comparison.remarks`).
    """
    counts = [len(values) for one in arms for values in _by_style(one).values()]
    sizes = [len(group) for one in arms for values in _by_style(one).values() for group in _groups(values.to_numpy())]
    lines = [METHOD_NOTE, GROUPS_NOTE.format(prompts=_span(counts), sizes=_span(sizes))] if arms else [METHOD_NOTE]
    lines += [*remarks, *([ANCHOR_NOTE] if {*STYLES} <= {*_styles(arms)} else []), PAPER_NOTE]
    return [*lines, LAPTOP_NOTE] if scale == "laptop" else lines


def _styles(arms: Sequence[HpsArm]) -> list[str]:
    return list(dict.fromkeys(style for one in arms for style in one.styles))


def _row(one: HpsArm, baseline: HpsArm | None, bootstrap: BootstrapConfig) -> dict[str, object]:
    arm, values = one.arm, _by_style(one)
    row: dict[str, object] = {"generator": arm.generator, "set": arm.set, "refiner": arm.refiner}
    row["images"] = len(arm.scores)
    for style, of_style in values.items():
        row[style] = float(of_style.mean())
        row[f"{style}_std"] = float(np.std([group.mean() for group in _groups(of_style.to_numpy(float))]))
    row |= _average("mean", values, bootstrap, arm.set)
    row["tokens_seen"] = one.tokens_seen
    row["words"] = float(arm.scores.drop_duplicates("prompt_id")["refined"].map(count_words).mean())
    if baseline is not None and baseline is not one:
        check_same_videos(arm, baseline.arm)
        before = _by_style(baseline)
        gains = {style: of_style - before[style] for style, of_style in values.items()}
        row |= _average("gain", gains, bootstrap, arm.set)
        count = sum(map(len, gains.values()))
        # Weighted so that their plain mean is that of the styles' means.
        weighted = [of_style * count / (len(gains) * len(of_style)) for of_style in gains.values()]
        row["p_value"] = paired_p_value(pd.concat(weighted).sort_index().to_numpy(float), bootstrap, arm.set)
    return row


def _average(name: str, values: Mapping[str, pd.Series], bootstrap: BootstrapConfig, prompts: str) -> dict[str, float]:
    """The mean of the styles' means, and its interval."""
    strata = [of_style.sort_index().to_numpy(float) for of_style in values.values()]
    low, high = strata_interval(strata, bootstrap, prompts)
    return {name: float(np.mean([one.mean() for one in strata])), f"{name}_ci_low": low, f"{name}_ci_high": high}


def _by_style(one: HpsArm) -> dict[str, pd.Series]:
    """By style the HPS of its prompts, by prompt_id in the order of the set."""
    means = one.arm.scores.groupby("prompt_id")[HPS.name].mean()
    if strange := {*means.index} ^ {*one.prompts["prompt_id"]}:
        raise InputError(
            f"arm {one}: {len(strange)} prompts are only in its scores or only in its set, first {min(strange)}; make "
            "both from the same prompts"
        )
    return {style: means.loc[one.prompts.loc[one.prompts["style"] == style, "prompt_id"]] for style in one.styles}


def _groups(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Consecutive groups as equal as possible, fewer than `GROUPS` of fewer values."""
    return np.array_split(values, min(GROUPS, len(values)))


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = [name for name in table if name not in (*TEXT_COLUMNS, "images")]
    return table.astype({**dict.fromkeys(TEXT_COLUMNS, "str"), "images": "Int64", **dict.fromkeys(numbers, "float64")})
