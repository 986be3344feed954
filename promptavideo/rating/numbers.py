"""What votes say: rates with intervals, strengths, agreement, and which raters count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptavideo.rating.config import UserStudyConfig
from promptavideo.rating.plan import Plan
from promptavideo.resampling import BootstrapConfig
from promptavideo.seeds import derive

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"win": 1.0, "tie-good": 0.5, "tie-poor": 0.5, "loss": 0.0}
"""What an outcome counts for the refiner."""

NAN = float("nan")


@dataclass(frozen=True)
class Raters:
    """Who gave votes, and who of them counts."""

    counted: frozenset[str]
    left_out: frozenset[str]
    checks: int
    """Answered checks, of all."""
    passed: int


def raters(votes: "pd.DataFrame", plan: Plan, given: UserStudyConfig) -> Raters:
    """Who counts: who passed the share of checks, and answered the share of repeats alike, that the section wants.

    Both are judged by the first question. Who answered no check, although the plan has some, has passed none.

    Args:
        votes: A `schemas.VOTES` table.
        plan: Of the study.
        given: The section.
    """
    first = next(iter(plan.questions))
    asked = votes[votes["question"] == first]
    checks = asked[asked["kind"] == "check"]
    won = checks["outcome"] == "win"
    share = won.groupby(checks["rater"]).mean()
    alike = repeats_alike(asked)
    agreed = alike["alike"].groupby(alike["rater"]).mean()
    wants_checks = any(item.check for item in plan.items)

    def counts(rater: str) -> bool:
        if wants_checks and share.get(rater, 0.0) < given.least_checks:
            return False
        return given.least_agreement is None or agreed.get(rater, 1.0) >= given.least_agreement

    every = frozenset(votes["rater"])
    counted = frozenset(filter(counts, every))
    return Raters(counted, every - counted, len(checks), int(won.sum()))


def repeats_alike(votes: "pd.DataFrame") -> "pd.DataFrame":
    """The repeats whose first showing was answered too, each with whether both answers say the same (`alike`)."""
    keys = ["rater", "item", "question"]
    shown, again = votes[votes["kind"] == "item"], votes[votes["kind"] == "repeat"]
    both = again.merge(shown[[*keys, "outcome"]], on=keys, suffixes=("", "_before"))
    return both.assign(alike=both["outcome"] == both["outcome_before"])


def crossed_interval(
    values: NDArray[np.float64], raters: Sequence[str], prompts: Sequence[str], bootstrap: BootstrapConfig, name: str
) -> tuple[float, float]:
    """95 % percentile interval of a mean over votes, with raters and prompts resampled together.

    Votes of one rater, and votes on one prompt, are alike. The pigeonhole bootstrap (Owen, The pigeonhole bootstrap,
    Annals of Applied Statistics 1(2), 2007) draws raters and prompts each with replacement; a vote counts as often as
    its rater times its prompt were drawn. It is a little wide rather than too narrow. Bias correction (BCa) is not
    defined for it, so the percentiles are taken whatever `bootstrap.method` says.

    Args:
        values: One value a vote [V].
        raters: Whose vote each is.
        prompts: Which prompt each is on.
        bootstrap: Resamples and seed.
        name: Names what is resampled, from which the seed is derived.

    Returns:
        The low and the high end; both NaN with fewer than two raters or two prompts.
    """
    names, whose = np.unique(np.asarray(raters, dtype=str), return_inverse=True)
    ids, which = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    if len(names) < 2 or len(ids) < 2:
        return NAN, NAN
    order = np.lexsort(
        (values, which, whose)
    )  # so that the order of the votes decides nothing, not even the last digit
    values, whose, which = values[order], whose[order], which[order]
    rng = np.random.default_rng(derive(bootstrap.seed, "interval", name))
    means = []
    for start in range(0, bootstrap.resamples, 500):  # bounds the memory
        count = min(500, bootstrap.resamples - start)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), count)
        shown = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), count)
        weights = drawn[:, whose] * shown[:, which]
        totals = weights.sum(axis=1)
        means.append((weights @ values)[totals > 0] / totals[totals > 0])
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(rate: float, votes: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate, as if all votes were independent.

    Args:
        rate: The share, ties halved.
        votes: How many; NaN for none.
    """
    if not votes:
        return NAN, NAN
    z = 1.959963984540054
    centre = rate + z * z / (2 * votes)
    spread = z * math.sqrt(rate * (1 - rate) / votes + z * z / (4 * votes * votes))
    return (centre - spread) / (1 + z * z / votes), (centre + spread) / (1 + z * z / votes)


def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p-value of wins against losses, ties left out; NaN without either."""
    from scipy import stats

    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else NAN


def strengths(votes: "pd.DataFrame") -> Mapping[str, float]:
    """The Bradley-Terry strength of every refiner, of one question's votes on all pairs; a tie counts as half.

    Strengths are shares of their sum: of two refiners the first is expected to win s1 / (s1 + s2) of the votes. Without
    both a win and a loss between them and the others, a refiner's strength has no finite value and is left out.
    """
    import evalica

    winners = {"win": evalica.Winner.X, "loss": evalica.Winner.Y}
    if votes.empty or not _connected(votes):
        return {}
    scores = evalica.bradley_terry(
        votes["refiner"].tolist(),
        votes["against"].tolist(),
        [winners.get(one, evalica.Winner.Draw) for one in votes["outcome"]],
        limit=10_000,
        tolerance=1e-9,
    ).scores
    total = float(scores.sum())
    return {str(name): float(score) / total for name, score in scores.items()}


def _connected(votes: "pd.DataFrame") -> bool:
    """Whether each refiner beats, by way of others too, each other one: else the strengths have no finite maximum."""
    names = sorted({*votes["refiner"], *votes["against"]})
    beats = {name: set[str]() for name in names}
    for one, other, result in zip(votes["refiner"], votes["against"], votes["outcome"], strict=True):
        if result != "loss":
            beats[one].add(other)
        if result != "win":
            beats[other].add(one)

    def reached(start: str) -> set[str]:
        found, ahead = {start}, [start]
        while ahead:
            new = beats[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    return all(reached(name) == set(names) for name in names)


def agreement(votes: "pd.DataFrame") -> float:
    """Krippendorff's alpha of raters on items, for the answers win, tie and loss as names; NaN where none has two."""
    import evalica

    if votes.empty:
        return NAN
    codes = {"win": 1.0, "tie-good": 0.0, "tie-poor": 0.0, "loss": -1.0}
    table = votes.assign(code=votes["outcome"].map(codes)).pivot(index="rater", columns="item", values="code")
    table = table.loc[:, table.notna().sum() > 1]
    if table.empty or len(np.unique(table.to_numpy()[table.notna().to_numpy()])) < 2:
        return NAN
    return float(evalica.alpha(table, distance="nominal").alpha)


def row(votes: "pd.DataFrame", who: Raters, planned: int, bootstrap: BootstrapConfig, name: str) -> dict[str, Any]:
    """The numbers of one pair and question.

    Args:
        votes: Its votes, repeats included, of all raters.
        who: Who counts.
        planned: Votes that are planned.
        bootstrap: How intervals are resampled.
        name: Names the pair and question, for the seed.
    """
    whole = votes[votes["rater"].isin(who.counted)]
    counted = whole[whole["kind"] == "item"]
    outcomes = counted["outcome"].value_counts()
    wins, losses = (int(outcomes.get(one, 0)) for one in ("win", "loss"))
    good, poor = (int(outcomes.get(one, 0)) for one in ("tie-good", "tie-poor"))
    values = np.array([SCORES[one] for one in counted["outcome"]], dtype=np.float64)
    rate = float(values.mean()) if len(values) else NAN
    low, high = crossed_interval(values, list(counted["rater"]), list(counted["prompt_id"]), bootstrap, name)
    wilson = wilson_interval(rate, len(values))
    alike = repeats_alike(whole)["alike"]
    return {
        "planned": planned, "votes": len(counted), "raters": counted["rater"].nunique(),
        "wins": wins, "ties_good": good, "ties_poor": poor, "losses": losses,
        "win_rate": rate, "win_rate_ci_low": low, "win_rate_ci_high": high,
        "wilson_low": wilson[0], "wilson_high": wilson[1], "p_value": sign_test(wins, losses),
        "alpha": agreement(counted), "repeats": len(alike), "repeats_alike": float(alike.mean()) if len(alike) else NAN,
        "votes_left_out": int((votes["rater"].isin(who.left_out) & (votes["kind"] == "item")).sum()),
    }  # fmt: skip
