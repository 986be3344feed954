"""Preference data for DPO: which of a prompt's candidates is chosen over which (Prompt-A-Video, its second stage)."""

from collections.abc import Hashable, Iterator
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from promptavideo.errors import InputError
from promptavideo.metrics import Objective
from promptavideo.schemas import TRIPLES
from promptavideo.settings import Ref, Section, lay
from promptavideo.text import text_key
from promptavideo.totals import Scale, Selected, Thresholds, Weights, candidate_means, outside, passes, rejections


class BestWorstConfig(Section):
    """The paper's rule: of a prompt's candidates the best is chosen and the worst rejected."""

    weights: Weights = Field(default={})
    """For the total, on the 0-5 scale; the paper does not publish its weights."""
    thresholds: Thresholds = Field(default={})
    """On the 0-5 scale, raw for metrics outside the objective; a chosen text exceeds them all. The paper has none."""
    min_gap: float = Field(default=0.0, ge=0)
    """The totals differ by more than this."""


class AuthorsConfig(Section):
    """The rule of the authors' code; all its constants are on the scales of the raw rewards."""

    weights: Weights = Field(default={"DD": 1.1, "TVA": 1.3, "AES": 0.8, "MPS": 1 / 3})
    """For the total, on the raw scales."""
    thresholds: Thresholds = Field(
        default={"VQ": 2.6, "TC": 2.6, "FC": 2.55, "DD": 2.65, "TVA": 2.9, "AES": 5.5, "MPS": 8.5}
    )
    """A chosen text exceeds them all."""
    ranks: int = Field(default=2, ge=1)
    """A chosen text is among this many best of its prompt."""
    min_gap: float = Field(default=1.4, ge=0)
    """A rejected text's total is more than this below the chosen one's."""
    max_words: int = Field(default=130, ge=1)
    """Of a chosen text."""

    @model_validator(mode="before")
    @classmethod
    def _over_theirs(cls, given: Any) -> Any:
        """Constants that are given replace the authors' one by one; null takes one away."""
        if not isinstance(given, dict):
            return given
        theirs = {key: cls.model_fields[key].default for key in ("weights", "thresholds")}
        return lay({"theirs": theirs, "given": given})[0]


class PreferenceConfig(Section):
    """How many rounds of DPO there are, from which candidates, and how these become triples."""

    rule: Literal["best-worst", "authors"] = "best-worst"
    """Which of the two rules below is used."""
    best_worst: BestWorstConfig = BestWorstConfig()
    authors: AuthorsConfig = AuthorsConfig()
    prompts: Annotated[str, Ref("prompt_sets")]
    """Name of the prompt set."""
    rounds: int = Field(default=2, ge=1)
    """Of DPO, each on top of the one before."""
    candidates: int = Field(default=5, ge=2)
    """Texts that the booster samples for each prompt."""

    @property
    def chosen(self) -> BestWorstConfig | AuthorsConfig:
        """The constants of the rule that is chosen."""
        return self.authors if self.rule == "authors" else self.best_worst


def make_triples(scores: pd.DataFrame, config: PreferenceConfig, objective: Objective) -> Selected:
    """Triples (prompt, chosen, rejected) from the scores of a prompt's candidates.

    Candidates of one text (case, spacing and final full stop aside) count once, as the lowest numbered. Ranks go by
    total, ties to the lower candidate number; equal totals never make a triple.

    Args:
        scores: A `schemas.scores` table, in any order.
        config: The rule and its constants.
        objective: What a total adds up.

    Returns:
        A `schemas.TRIPLES` table sorted by prompt_id, then by the candidate numbers of the chosen and the rejected
        text, and lines that count what was rejected and why.

    Raises:
        InputError: There is no triple at all; the message holds the counts.
        ScoreError: A score is not a finite number.
    """
    if config.rule == "authors":
        candidates = _distinct(scores, objective, config.authors, "raw")
        pairs, report = _authors(candidates, config.authors)
    else:
        candidates = _distinct(scores, objective, config.best_worst, "five")
        pairs, report = _best_worst(candidates, config.best_worst)
    pairs.sort(key=lambda pair: (pair[0]["prompt_id"], pair[0]["candidate"], pair[1]["candidate"]))
    rows = [
        (better["prompt_id"], better["prompt"], better["refined"], worse["refined"], better["total"], worse["total"])
        for better, worse in pairs
    ]
    triples = pd.DataFrame(rows, columns=list(TRIPLES.columns))
    prompts = candidates["prompt_id"].nunique()
    report.insert(0, f"{len(triples)} triples from {prompts} prompts with {len(candidates)} distinct texts")
    if triples.empty:
        raise InputError(f"the rule {config.rule} gives no triple to learn from: {'; '.join(report)}")
    return Selected(triples, tuple(report))


Pair = tuple[dict[Hashable, Any], dict[Hashable, Any]]
"""The rows of a chosen and of a rejected candidate."""


def _distinct(
    scores: pd.DataFrame, objective: Objective, rule: BestWorstConfig | AuthorsConfig, scale: Scale
) -> pd.DataFrame:
    """Candidates of different texts, best first within a prompt."""
    means = candidate_means(scores, objective, rule.weights, scale, outside(rule.thresholds, objective))
    means = means[~means.assign(key=means["refined"].map(text_key)).duplicated(["prompt_id", "key"])]
    return means.sort_values(["prompt_id", "total", "candidate"], ascending=[True, False, True], ignore_index=True)


def _best_worst(candidates: pd.DataFrame, config: BestWorstConfig) -> tuple[list[Pair], list[str]]:
    pairs, single, close, unworthy = [], 0, 0, 0
    passed = passes(candidates, config.thresholds)
    candidates = candidates.assign(worthy=passed.all(axis=1))
    for ranked in _by_prompt(candidates):
        best = next((one for one in ranked if one["worthy"]), None)
        if len(ranked) < 2:
            single += 1
        elif best is None:
            unworthy += 1
        elif best["total"] - ranked[-1]["total"] > config.min_gap:
            pairs.append((best, ranked[-1]))
        else:
            close += 1
    lacking = [f"no candidate exceeds every threshold for {unworthy} prompts"] if config.thresholds else []
    return pairs, [
        f"{single} prompts have a single distinct text",
        *rejections(passed, config.thresholds),
        *lacking,
        f"gap > {config.min_gap:g} (best_worst.min_gap) rejects {close} prompts",
    ]


def _authors(candidates: pd.DataFrame, config: AuthorsConfig) -> tuple[list[Pair], list[str]]:
    top = candidates[candidates.groupby("prompt_id").cumcount() < config.ranks]
    passed = passes(top, config.thresholds)
    short = top["refined"].map(lambda text: len(text.split())) <= config.max_words
    usable = passed.all(axis=1) & short
    pairs, chosen, lonely = [], int(usable.sum()), 0
    for ranked in _by_prompt(candidates.assign(usable=usable.reindex(candidates.index, fill_value=False))):
        for rank, better in enumerate(ranked):
            if better["usable"]:
                worse = [one for one in ranked[rank + 1 :] if better["total"] - one["total"] > config.min_gap]
                pairs += [(better, one) for one in worse]
                lonely += not worse
    return pairs, [
        *(f"{line} of rank 1 to {config.ranks}" for line in rejections(passed, config.thresholds)),
        f"at most {config.max_words} words (authors.max_words) rejects {int((~short).sum())} of {len(top)} candidates",
        f"gap > {config.min_gap:g} (authors.min_gap) leaves {lonely} of {chosen} chosen texts without a rejected",
    ]


def _by_prompt(candidates: pd.DataFrame) -> Iterator[list[dict[Hashable, Any]]]:
    for _, group in candidates.groupby("prompt_id", sort=True):
        yield group.to_dict("records")
