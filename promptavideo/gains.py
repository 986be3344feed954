"""What boosters gain over everything that they are compared with: one row a booster and another refiner."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from promptavideo.resampling import BootstrapConfig, paired_p_value
from promptavideo.tables import (
    LAPTOP,
    PAPER_COLUMNS,
    TEXT_COLUMNS,
    Arm,
    Columns,
    check_same_videos,
    check_scores,
    interval,
    prompt_means,
)

AGAINST = "against"
COLUMNS = (*TEXT_COLUMNS, AGAINST, "videos", "avg", "avg_against", "diff", "diff_ci_low", "diff_ci_high", "p_value")

METHOD_NOTE = (
    "Rows are boosters, each beside a refiner that none of them is (against). avg and avg_against are the means of "
    "{average} on a 0-5 scale, over the same prompts and seeds; diff is their paired difference, with its 95 % "
    "bootstrap interval over prompts. p_value is a two-sided paired permutation test, not corrected for the number of "
    "rows. Against original, these are the gains of the VideoScore table."
)


@dataclass(frozen=True, eq=False)
class Pair:
    """One row to be: a booster's texts and another refiner's, of the same generator and set."""

    booster: Arm
    against: Arm


def gains_table(pairs: Sequence[Pair], bootstrap: BootstrapConfig, columns: Columns = PAPER_COLUMNS) -> pd.DataFrame:
    """Paired differences of `avg`, resampled as the gains of `tables.videoscore_table` and so equal to them.

    Args:
        pairs: The rows, in the order wanted.
        bootstrap: Resampling settings.
        columns: What `avg` is the mean of.

    Returns:
        One row a pair with `COLUMNS`; interval and p-value cells are empty where the data cannot carry one.

    Raises:
        InputError: The two of a pair were not filmed for the same prompts and replicates.
        ScoreError: A score is not a finite number.
    """
    rows = [_row(pair, bootstrap, columns) for pair in pairs]
    numbers = dict.fromkeys(COLUMNS[COLUMNS.index("avg") :], "float64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"videos": "Int64", **numbers})


def notes(scale: str, remarks: Sequence[str], columns: Columns = PAPER_COLUMNS) -> list[str]:
    """The notes that belong under the table.

    Args:
        scale: The configuration's.
        remarks: What the records of its rows call for (`provenance.remarks`).
        columns: What `avg` is the mean of.
    """
    lines = [METHOD_NOTE.format(average=", ".join(columns.average)), *remarks]
    return [*lines, f"These are {LAPTOP}"] if scale == "laptop" else lines


def _row(pair: Pair, bootstrap: BootstrapConfig, columns: Columns) -> dict[str, object]:
    arm, other = pair.booster, pair.against
    for side in (arm, other):
        check_scores(side, columns.of(side.scores))
    check_same_videos(arm, other)
    own, others = (prompt_means(side, columns)["avg"] for side in (arm, other))
    differences = own - others
    return {
        "generator": arm.generator,
        "set": arm.set,
        "refiner": arm.refiner,
        AGAINST: other.refiner,
        "videos": len(arm.scores),
        "avg": float(own.mean()),
        "avg_against": float(others.mean()),
        "diff": float(differences.mean()),
        **interval("diff", differences, bootstrap, arm),
        "p_value": paired_p_value(differences.to_numpy(), bootstrap, arm.set),
    }
