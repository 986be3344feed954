"""What a run has found, in sentences: what the boosters gain over the original prompts and over a one-shot rewrite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from promptavideo.gains import AGAINST
from promptavideo.provenance import OTHERS_NOTE
from promptavideo.tables import BASELINE, LAPTOP

Rows = Mapping[tuple[str, str], Mapping[Any, Any]]
"""Rows of the table of gains, by booster and what it is compared with."""


@dataclass(frozen=True)
class Finding:
    """What was found of one generator on one set."""

    headline: str
    """Of the last booster."""
    others: Sequence[str]
    """Of the boosters before it."""


def findings(
    table: pd.DataFrame, replicates: Mapping[tuple[str, str], int], one_shots: Mapping[str, str | None]
) -> list[Finding]:
    """A finding for each generator and set.

    Args:
        table: As `gains.gains_table` returns it.
        replicates: Videos a prompt, by generator and set.
        one_shots: By generator, the refiner that rewrites prompts once and has seen no scores, if there is one.
    """
    found = []
    for (generator, name), rows in table.groupby(["generator", "set"], sort=False):
        boosters = dict.fromkeys(rows["refiner"])
        by: Rows = {(row["refiner"], row[AGAINST]): row for row in rows.to_dict("records")}
        gains = {booster: _gain(by, booster, one_shots.get(str(generator))) for booster in boosters}
        *before, last = boosters
        first = by[last, BASELINE]
        count = first["videos"] // replicates[str(generator), str(name)]
        prompts = "1 prompt" if count == 1 else f"{count} prompts"
        headline = (
            f"On {prompts} of {name}, {generator} films {last}'s texts with avg {first['avg']:.2f} against "
            f"{first['avg_against']:.2f} of the original prompts: {gains[last]}."
        )
        found.append(Finding(headline, [f"{booster}: {gains[booster]}" for booster in before]))
    return found


def warnings(notes: Sequence[str]) -> list[str]:
    """Those of a table's notes without which its numbers mislead: that they are no numbers of the paper's models."""
    stand_ins = OTHERS_NOTE.partition(":")[0]
    return [note for note in notes if LAPTOP in note or note.startswith(stand_ins)]


def _gain(rows: Rows, booster: str, one_shot: str | None) -> str:
    """What a booster gains over the original prompts, and in brackets over the one-shot rewrite."""
    over = rows.get((booster, one_shot)) if one_shot else None
    return _difference(rows[booster, BASELINE]) + (f" (over {one_shot}: {_difference(over)})" if over else "")


def _difference(row: Mapping[Any, Any]) -> str:
    half = (row["diff_ci_high"] - row["diff_ci_low"]) / 2
    return f"{row['diff']:+.2f}" + ("" if pd.isna(half) else f" ± {half:.2f}")
