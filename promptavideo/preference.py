"""Preference data for DPO: which of a prompt's candidates is chosen over which (Prompt-A-Video, its second stage)."""

from collections.abc import Hashable, Iterator
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.schemas import TRIPLES
from promptavideo.settings import Section
from promptavideo.text import text_key
from promptavideo.totals import Scale, Selected, Thresholds, Weights, candidate_means, passes, rejections


class BestWorstConfig(Section):
    """The paper's rule: of a prompt's candidates the best is chosen and the worst rejected."""

    weights: Weights = Weights()
    """For the total, on the 0-5 scale; the paper does not publish its weights."""
    min_gap: float = Field(default=0.0, ge=0)
    """The totals differ by more than this."""


class AuthorsConfig(Section):
    """The rule of the authors' code; all its constants are on the scales of the raw rewards."""

    weights: Weights = Weights(DD=1.1, TVA=1.3, AES=0.8, MPS=1 / 3)
    thresholds: Thresholds = Thresholds(VQ=2.6, TC=2.6, FC=2.55, DD=2.65, TVA=2.9, AES=5.5, MPS=8.5)
    """A chosen text exceeds them all."""
    ranks: int = Field(default=2, ge=1)
    """A chosen text is among this many best of its prompt."""
    min_gap: float = Field(default=1.4, ge=0)
    """A rejected text's total is more than this below the chosen one's."""
    max_words: int = Field(default=130, ge=1)
    """Of a chosen text."""


class TripleRule(Section):
    """How candidates become triples. Defaults are the paper's."""

    rule: Literal["best-worst", "authors"] = "best-worst"
    """Which of the two rules below is used."""
    best_worst: BestWorstConfig = BestWorstConfig()
    authors: AuthorsConfig = AuthorsConfig()


class PreferenceConfig(TripleRule):
    """How many rounds of DPO there are, from which candidates, and how these become triples."""

    prompts: str
    """Name of the prompt set."""
    rounds: int = Field(default=2, ge=1)
    """Of DPO, each on top of the one before."""
    candidates: int = Field(default=5, ge=2)
    """Texts that the booster samples for each prompt."""

    @property
    def triples(self) -> TripleRule:
        """What decides the triples of a round, however many rounds there are."""
        return TripleRule(**{name: getattr(self, name) for name in TripleRule.model_fields})


def make_triples(scores: pd.DataFrame, config: TripleRule) -> Selected:
    """Triples (prompt, chosen, rejected) from the scores of a prompt's candidates.

    Candidates of one text (case, spacing and final full stop aside) count once, as the lowest numbered. Ranks go by
    total, ties to the lower candidate number; equal totals never make a triple.

    Args:
        scores: A `schemas.SCORES` table, in any order.
        config: The rule and its constants.

    Returns:
        A `schemas.TRIPLES` table sorted by prompt_id, then by the candidate numbers of the chosen and the rejected
        text, and lines that count what was rejected and why.

    Raises:
        InputError: There is no triple at all; the message holds the counts.
        ScoreError: A score is not a finite number.
    """
    if config.rule == "authors":
        candidates = _distinct(scores, config.authors.weights, "raw")
        rows, report = _authors(candidates, config.authors)
    else:
        candidates = _distinct(scores, config.best_worst.weights, "five")
        rows, report = _best_worst(candidates, config.best_worst)
    rows.sort(key=lambda row: (row[0], row[-2], row[-1]))
    triples = pd.DataFrame([row[:-2] for row in rows], columns=list(TRIPLES.columns))
    prompts = candidates["prompt_id"].nunique()
    report.insert(0, f"{len(triples)} triples from {prompts} prompts with {len(candidates)} distinct texts")
    if triples.empty:
        raise InputError(f"the rule {config.rule} gives no triple to learn from: {'; '.join(report)}")
    return Selected(triples, tuple(report))


Row = tuple[str, str, str, str, float, float, int, int]
"""A triple and the candidate numbers of its chosen and its rejected text."""


def _distinct(scores: pd.DataFrame, weights: Weights, scale: Scale) -> pd.DataFrame:
    """Candidates of different texts, best first within a prompt."""
    means = candidate_means(scores, weights, scale)
    means = means[~means.assign(key=means["refined"].map(text_key)).duplicated(["prompt_id", "key"])]
    return means.sort_values(["prompt_id", "total", "candidate"], ascending=[True, False, True], ignore_index=True)


def _best_worst(candidates: pd.DataFrame, config: BestWorstConfig) -> tuple[list[Row], list[str]]:
    rows, single, close = [], 0, 0
    for ranked in _by_prompt(candidates):
        if len(ranked) < 2:
            single += 1
        elif ranked[0]["total"] - ranked[-1]["total"] > config.min_gap:
            rows.append(_row(ranked[0], ranked[-1]))
        else:
            close += 1
    return rows, [
        f"{single} prompts have a single distinct text",
        f"gap > {config.min_gap:g} (best_worst.min_gap) rejects {close} prompts",
    ]


def _authors(candidates: pd.DataFrame, config: AuthorsConfig) -> tuple[list[Row], list[str]]:
    top = candidates[candidates.groupby("prompt_id").cumcount() < config.ranks]
    passed = passes(top, config.thresholds)
    short = top["refined"].map(lambda text: len(text.split())) <= config.max_words
    chosen = passed.all(axis=1) & short
    usable = set(top.loc[chosen, ["prompt_id", "candidate"]].itertuples(index=False, name=None))
    rows, lonely = [], 0
    for ranked in _by_prompt(candidates):
        for rank, better in enumerate(ranked[: config.ranks]):
            if (better["prompt_id"], better["candidate"]) in usable:
                found = [
                    _row(better, worse)
                    for worse in ranked[rank + 1 :]
                    if better["total"] - worse["total"] > config.min_gap
                ]
                rows += found
                lonely += not found
    return rows, [
        *(f"{line} of rank 1 to {config.ranks}" for line in rejections(passed, config.thresholds)),
        f"at most {config.max_words} words (authors.max_words) rejects {int((~short).sum())} of {len(top)} candidates",
        f"gap > {config.min_gap:g} (authors.min_gap) leaves {lonely} of {len(usable)} chosen texts without a rejected",
    ]


def _by_prompt(candidates: pd.DataFrame) -> Iterator[list[dict[Hashable, Any]]]:
    for _, group in candidates.groupby("prompt_id", sort=True):
        yield group.to_dict("records")


def _row(better: dict[Hashable, Any], worse: dict[Hashable, Any]) -> Row:
    return (
        better["prompt_id"],
        better["prompt"],
        better["refined"],
        worse["refined"],
        better["total"],
        worse["total"],
        better["candidate"],
        worse["candidate"],
    )
