"""The table of the user study: a row for each pair and question, and the paper's printed rates below."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from promptavideo.errors import InputError
from promptavideo.rating.config import UserStudyConfig
from promptavideo.rating.numbers import NAN, Raters, raters, row, strengths
from promptavideo.rating.plan import Plan
from promptavideo.rating.power import RATES, votes_needed
from promptavideo.resampling import BootstrapConfig
from promptavideo.tables import LAPTOP_NOTE, PAPER_SET, STUDY_COUNTS, read_printed

if TYPE_CHECKING:
    from promptavideo.rating.collect import Record

NAMES = ("generator", "set", "refiner", "against", "question", "approximate")
COLUMNS = (
    *NAMES, "planned", "votes", "raters", "wins", "ties_good", "ties_poor", "losses", "win_rate", "win_rate_ci_low",
    "win_rate_ci_high", "wilson_low", "wilson_high", "p_value", "strength", "strength_against", "alpha", "repeats",
    "repeats_alike", "checks_passed", "raters_left_out", "votes_left_out",
)  # fmt: skip
SHOWN = [name for name in COLUMNS if not name.startswith(("wilson_", "strength"))]
"""The columns that people read."""

METHOD_NOTE = (
    "win_rate is the share of votes for the refiner, with ties as half a vote each; its 95 % interval resamples raters "
    "and prompts together (the pigeonhole bootstrap). wilson_low and wilson_high are Wilson's interval of the same "
    "rate, as if all votes were independent, which they are not. p_value is a two-sided sign test of wins against "
    "losses, not corrected for the number of rows. strength and strength_against are Bradley-Terry strengths over all "
    "refiners of the question. alpha is Krippendorff's, of raters on pairs. Repeats and checks are no votes."
)
PLANNED_NOTE = (
    "{votes} of {planned} planned votes are there. {needed} show a true rate of {rates} (two-sided test at 5 %, power "
    "80 %, independent votes)."
)
EARLY_NOTE = (
    "The study is not finished. To look at it, and to end it by what is seen, would make its p-values too small."
)
LEFT_OUT_NOTE = "{raters} raters passed fewer than {least:g} of the checks{agreement} and are left out."
REASONS_NOTE = "Votes that were left out when they were collected: {reasons}."
PAPER_NOTE = (
    'Rows with set "paper" are the rates of the user study of Prompt-A-Video (arXiv 2412.15156), which are known about '
    "(`approximate`) and without counts."
)


def user_study_table(
    plan: Plan, votes: pd.DataFrame, given: UserStudyConfig, bootstrap: BootstrapConfig
) -> tuple[pd.DataFrame, Raters]:
    """A row for each pair and question, with the raters who count.

    Args:
        plan: Of the study.
        votes: A `schemas.VOTES` table.
        given: The section, for who counts.
        bootstrap: How intervals are resampled.
    """
    who = raters(votes, plan, given)
    rows = []
    for (refiner, against), planned in zip(plan.pairs, plan.planned, strict=True):
        for question in plan.questions:
            asked = votes[votes["question"] == question]
            of_pair = asked[(asked["refiner"] == refiner) & (asked["against"] == against)]
            counted = asked[asked["rater"].isin(who.counted) & (asked["kind"] == "item")]
            strength = strengths(counted)
            rows.append(
                {
                    "generator": plan.track, "set": plan.set, "refiner": refiner, "against": against,
                    "question": question,
                    **row(of_pair, who, planned, bootstrap, f"{plan.set} {refiner} {against} {question}"),
                    "strength": strength.get(refiner, NAN), "strength_against": strength.get(against, NAN),
                    "checks_passed": who.passed / who.checks if who.checks else NAN,
                    "raters_left_out": len(who.left_out),
                }
            )  # fmt: skip
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS))), who


def with_paper_rows(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with the paper's rates below ours.

    Args:
        table: As `user_study_table` returns it.
        path: The printed rates.

    Raises:
        InputError: The file is missing or lacks a column, or a set of ours is itself called "paper".
    """
    if (table["set"] == PAPER_SET).any():
        raise InputError(f'a prompt set is called "{PAPER_SET}", which marks rows of the paper; rename the set')
    printed = read_printed(path, ["win_rate_about"], ("generator", "against"))
    paper = printed.rename(columns={"win_rate_about": "win_rate"}).assign(
        set=PAPER_SET, refiner="dpo-2", question="overall", approximate="yes"
    )
    return pd.concat([table, _typed(paper.reindex(columns=table.columns))], ignore_index=True)


def notes(
    table: pd.DataFrame, who: Raters, given: UserStudyConfig, record: "Record", scale: Literal["laptop", "paper"],
    remarks: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """What belongs below the table.

    Args:
        table: With the paper's rows.
        who: Who counts.
        given: The section.
        record: What was left out when votes were collected.
        scale: The configuration's.
        remarks: What the refiners' entries say.
    """
    ours = table[table["set"] != PAPER_SET]
    votes, planned = int(ours["votes"].sum()), int(ours["planned"].sum())
    needed = ", ".join(str(votes_needed(rate)) for rate in RATES)
    rates = ", ".join(f"{rate:.0%}" for rate in RATES)
    said = [METHOD_NOTE, PLANNED_NOTE.format(votes=votes, planned=planned, needed=needed, rates=rates)]
    if votes < planned:
        said.append(EARLY_NOTE)
    if who.left_out:
        least = given.least_agreement
        agreement = "" if least is None else f", or answered fewer than {least:g} of the repeats alike,"
        values = {"raters": len(who.left_out), "least": given.least_checks, "agreement": agreement}
        said.append(LEFT_OUT_NOTE.format(**values))
    if reasons := ", ".join(f"{reason}: {count}" for reason, count in record.left_out.items() if count):
        said.append(REASONS_NOTE.format(reasons=reasons))
    said += [*remarks, PAPER_NOTE]
    return [*said, LAPTOP_NOTE] if scale == "laptop" else said


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    names: dict[str, Any] = dict.fromkeys(NAMES, "object")
    counts: dict[str, Any] = dict.fromkeys(STUDY_COUNTS, "Int64")
    rest: dict[str, Any] = {name: "float64" for name in COLUMNS if name not in names | counts}
    return table.astype(names | counts | rest)
