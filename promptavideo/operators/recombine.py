"""The laptop's operator: it recombines the wordings of the best prompts, without a language model or a network."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from promptavideo.miniature.dialects import DIALECTS, DialectName
from promptavideo.operators.base import Operator, OperatorEntry, Request, Scored
from promptavideo.reading import Fits
from promptavideo.seeds import derive
from promptavideo.settings import Added
from promptavideo.text import clean, text_key

NEUTRAL_PHRASES = ("centered subject", "plain scene", "seen from the front", "simple composition", "single long take")
"""Wordings that no quality factor of the world hangs on."""

Topics = tuple[tuple[str, ...], ...]


@cache
def topics(dialects: tuple[DialectName, ...]) -> Topics:
    """The phrase bank of some dialects, then `NEUTRAL_PHRASES`.

    Phrases of a dialect on one subject stand together, as anyone who knows English could sort them; good and bad ones
    are mixed, so nothing here tells which are which.
    """
    words = (ends for dialect in dialects for ends in DIALECTS[dialect].values())
    return (*(tuple(sorted(good + bad)) for good, bad in words), NEUTRAL_PHRASES)


_CLAUSE_END = re.compile(r"[.,;]")


class RecombineConfig(OperatorEntry):
    """The offline operator; the defaults were tuned on a simulated additive score with noise (see the tests)."""

    kind: Literal["recombine"]
    dialects: Annotated[list[DialectName], Added()] = Field(default=["plain"], min_length=1)
    """Whose words it knows, good and bad ones (docs/miniature.md)."""
    first_phrases: int = Field(default=2, ge=1)
    """Phrases that a variant adds to the original while no other prompt has been tried."""
    new_phrases: int = Field(default=2, ge=1)
    """Untried phrases that a variant of a later round gets at most."""
    rewrite_phrases: int = Field(default=4, ge=1)
    """Phrases of a rewrite without scores."""
    fault_phrases: Annotated[int, Added()] = Field(default=2, ge=0)
    """Faults that a negative prompt names beside the opposites of what its prompt says."""
    max_phrases: int = Field(default=8, ge=1)
    """Bound on a variant's phrases beside the original."""
    max_words: int = Field(default=45, ge=1)
    """Bound on a variant's words; the original and one phrase are kept whatever their length."""
    keep_bias: float = 0.4
    """Credit, in units of its spread, at which a phrase is kept half of the time."""
    temperature: float = Field(default=0.3, gt=0)
    """Width, in the same units, of the step from dropping to keeping."""

    def load(self, name: str, store: Path | None) -> "RecombineOperator":
        """Make the operator."""
        return RecombineOperator(self)


class RecombineOperator(Operator):
    """An evolutionary operator that knows what an instruction says, as a language model would.

    A variant is the original, unchanged, then phrases: a crossover of those of the earlier prompts, each kept with a
    probability that grows with its credit, and mutations from the phrase bank on subjects not yet covered.
    """

    def __init__(self, config: RecombineConfig) -> None:
        self._config = config
        self._topics = topics(tuple(config.dialects))
        self._topic_of = {phrase: place for place, phrases in enumerate(self._topics) for phrase in phrases}
        self._mentions = [
            re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b", re.IGNORECASE) for phrases in self._topics
        ]

    def answer(self, request: Request) -> str:
        """Variants, or a negative prompt, between `<PROMPT>` and `</PROMPT>`; equal requests always get the same."""
        if request.wants == "negative":
            return f"<PROMPT>{', '.join(self._negative(request))}</PROMPT>"
        original = clean(request.prompt)
        rng = np.random.default_rng(derive("recombine", *request.key))
        credits = _credits(original, request.history)
        used = set(credits)
        texts = []
        for _ in range(request.variants):
            phrases = self._variant(request, original, credits, used, rng)
            used |= set(phrases)
            texts.append(_write(original, phrases))
        return "\n".join(f"<PROMPT>{text}</PROMPT>" for text in texts)

    def _variant(
        self, request: Request, original: str, credits: dict[str, float], used: set[str], rng: np.random.Generator
    ) -> list[str]:
        """Phrases of one variant; no two on one subject, and at least one that is new, if any subject is free."""
        config = self._config
        covered = {topic for topic, mention in enumerate(self._mentions) if mention.search(original)}
        kept: dict[int | str, str] = {}
        for phrase in sorted(credits, key=lambda phrase: (-credits[phrase], phrase)):
            chance = 1 / (1 + np.exp(-(credits[phrase] - config.keep_bias) / config.temperature))
            if rng.random() < chance:
                kept.setdefault(self._topic_of.get(phrase, phrase), phrase)
        free = [topic for topic in range(len(self._topics)) if topic not in covered and topic not in kept]
        # With every subject covered, mutating means another wording of one of them.
        order = rng.permutation(free or sorted(topic for topic in kept if isinstance(topic, int))).tolist()
        if credits:
            count = config.new_phrases if free else 1
        else:
            count = config.first_phrases if request.history else config.rewrite_phrases
        added: list[str] = []
        for topic in order[:count]:
            untried = [phrase for phrase in self._topics[topic] if phrase not in used] or list(self._topics[topic])
            added.append(untried[rng.integers(len(untried))])
            kept.pop(topic, None)
        return self._bound(original, list(kept.values()), added, request.fits)

    def _negative(self, request: Request) -> list[str]:
        """The opposites of what a prompt says well, then faults that it leaves open.

        What it wants that others count as a fault has no opposite here. Where the instruction shows examples, faults
        are those that these name.
        """
        rng = np.random.default_rng(derive("recombine", *request.key))
        shown = text_key(", ".join(example.refined for example in request.examples))
        said = [mention.search(request.prompt) for mention in self._mentions]
        opposites, faults = [], []
        qualities = (ends for dialect in self._config.dialects for ends in DIALECTS[dialect].values())
        for found, (good, bad) in zip(said, qualities, strict=False):
            known = [phrase for phrase in bad if phrase in shown]
            if found is None:
                faults += [known or bad] if known or not shown else []
            elif found[0].casefold() in good:
                opposites.append(known or bad)
        order = rng.permutation(len(faults))[: self._config.fault_phrases]
        return [str(rng.choice(phrases)) for phrases in (*opposites, *(faults[place] for place in order))]

    def _bound(self, original: str, kept: list[str], added: list[str], fits: Fits) -> list[str]:
        """Drop the kept phrases of least credit, then added ones, until all limits hold."""
        phrases = [*added, *kept]  # what comes last goes first
        while len(phrases) > 1 and not self._short(_write(original, sorted(phrases)), len(phrases), fits):
            phrases.pop()
        return sorted(phrases)

    def _short(self, text: str, phrases: int, fits: Fits) -> bool:
        return phrases <= self._config.max_phrases and len(text.split()) <= self._config.max_words and fits(text)


def _phrases(prompt: str, original: str) -> tuple[str, ...]:
    """The clauses of a prompt beyond the original's, in lower case."""
    stem, text = text_key(original), text_key(prompt)
    if text.startswith(stem) and not text[len(stem) :][:1].isalnum():
        text = text[len(stem) :]
    known = {clause.strip() for clause in _CLAUSE_END.split(stem)}
    clauses = [clause.strip() for clause in _CLAUSE_END.split(text)]
    return tuple(dict.fromkeys(clause for clause in clauses if clause and clause not in known))


def _credits(original: str, history: Sequence[Scored]) -> dict[str, float]:
    """What each phrase of the earlier prompts seems worth, in units of the spread over the phrases.

    For each dimension, the regression slope of the scores on the phrase's presence, weighted with the squared share of
    the dimension's variance that it explains: a phrase earns what the prompts that have it and no others show. Summed
    over the dimensions, so that each prompt passes on what it does best.
    """
    tried = [_phrases(clean(scored.prompt), original) for scored in history]
    known = sorted({phrase for phrases in tried for phrase in phrases})
    if not known:
        return {}
    presence = np.array([[phrase in phrases for phrase in known] for phrases in tried], float)
    presence -= presence.mean(axis=0)
    # As the instruction shows them.
    scores = np.array([[float(f"{value:.2f}") for value in scored.scores.values()] for scored in history])
    scores -= scores.mean(axis=0)
    covariance = presence.T @ scores  # [phrases, 7]
    presence_power = (presence**2).sum(axis=0)[:, None]
    power = np.maximum(presence_power * (scores**2).sum(axis=0), 1e-9)
    credit = (covariance / np.maximum(presence_power, 1e-9) * (covariance**2 / power) ** 2).sum(axis=1)
    spread = max(float(np.sqrt((credit**2).mean())), 1e-9)
    return dict(zip(known, (credit / spread).tolist(), strict=True))


def _write(original: str, phrases: list[str]) -> str:
    stem, tail = original.rstrip(" ."), ", ".join(phrases)
    stop = "" if stem.endswith(("!", "?")) else "."
    return f"{stem}{stop} {tail[:1].upper()}{tail[1:]}." if tail else original
