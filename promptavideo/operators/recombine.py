"""The laptop's operator: it recombines the wordings of the best prompts, without a language model or a network."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.miniature.world import QUALITY_WORDS
from promptavideo.operators.base import Key, Operator, OperatorSection
from promptavideo.schemas import DIMENSIONS
from promptavideo.seeds import derive
from promptavideo.text import text_key

NEUTRAL_PHRASES = ("centered subject", "plain scene", "seen from the front", "simple composition", "single long take")
"""Wordings that no quality factor of the world hangs on."""

TOPICS: tuple[tuple[str, ...], ...] = (
    *(tuple(sorted(good + bad)) for good, bad in QUALITY_WORDS.values()),
    NEUTRAL_PHRASES,
)
"""The phrase bank. Phrases on one subject stand together, as anyone who knows English could sort them; good and bad
ones are mixed, so nothing here tells which are which."""

_TOPIC_OF = {phrase: topic for topic, phrases in enumerate(TOPICS) for phrase in phrases}
_MENTIONS = [re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b", re.IGNORECASE) for phrases in TOPICS]
_MAX_VARIANTS = 20

_PROMPT_LINE = re.compile(r"Prompt (\d{1,6}): (.*)")
_SCORES_LINE = re.compile(r"Scores (\d{1,6}): " + ", ".join(rf"{name} (-?\d{{1,9}}\.\d+)" for name in DIMENSIONS))
_ORIGINAL_LINE = re.compile(r"Original prompt: (.*)")
_VARIANTS = re.compile(r"exactly (\d{1,6})\b")
_CLAUSE_END = re.compile(r"[.,;]")


class RecombineConfig(OperatorSection):
    """The offline operator; the defaults were tuned on a simulated additive score with noise (see the tests)."""

    kind: Literal["recombine"]
    first_phrases: int = Field(default=2, ge=1)
    """Phrases that a variant adds to the original while no other prompt has been tried."""
    new_phrases: int = Field(default=2, ge=1)
    """Untried phrases that a variant of a later round gets at most."""
    rewrite_phrases: int = Field(default=4, ge=1)
    """Phrases of a rewrite without scores."""
    max_phrases: int = Field(default=8, ge=1)
    """Bound on a variant's phrases beside the original."""
    max_words: int = Field(default=45, ge=1)
    """Bound on a variant's words; the original and one phrase are kept whatever their length."""
    keep_bias: float = 0.4
    """Credit, in units of its spread, at which a phrase is kept half of the time."""
    temperature: float = Field(default=0.3, gt=0)
    """Width, in the same units, of the step from dropping to keeping."""


@dataclass(frozen=True)
class _Request:
    """What an instruction asks: phrases of each earlier prompt (the original's are empty) and their scores [P, 7]."""

    original: str
    phrases: list[tuple[str, ...]]
    scores: NDArray[np.float64]
    variants: int


class RecombineOperator(Operator):
    """An evolutionary operator that reads the instruction alone, as a language model would.

    It takes the lines `Prompt i: ...` and `Scores i: VQ 1.23, ...` of the history, or else the line
    `Original prompt: ...`, and the number after the word "exactly". A variant is the original, unchanged, then phrases:
    a crossover of those of the earlier prompts, each kept with a probability that grows with its credit, and mutations
    from the phrase bank on subjects not yet covered.
    """

    def __init__(self, config: RecombineConfig) -> None:
        self._config = config

    def answer(self, instruction: str, key: Key) -> str:
        """Variants between `<PROMPT>` and `</PROMPT>`; the same instruction and key always give the same.

        Raises:
            InputError: The instruction has neither a history nor a line `Original prompt: ...`.
        """
        request = _read(instruction)
        rng = np.random.default_rng(derive("recombine", *key))
        credits = _credits(request)
        used = set(credits)
        texts = []
        for _ in range(request.variants):
            phrases = self._variant(request, credits, used, rng)
            used |= set(phrases)
            texts.append(_write(request.original, phrases))
        return "\n".join(f"<PROMPT>{text}</PROMPT>" for text in texts)

    def _variant(
        self, request: _Request, credits: dict[str, float], used: set[str], rng: np.random.Generator
    ) -> list[str]:
        """Phrases of one variant; no two on one subject, and at least one that is new, if any subject is free."""
        config = self._config
        covered = {topic for topic, mention in enumerate(_MENTIONS) if mention.search(request.original)}
        kept: dict[int | str, str] = {}
        for phrase in sorted(credits, key=lambda phrase: (-credits[phrase], phrase)):
            chance = 1 / (1 + np.exp(-(credits[phrase] - config.keep_bias) / config.temperature))
            if rng.random() < chance:
                kept.setdefault(_TOPIC_OF.get(phrase, phrase), phrase)
        free = [topic for topic in range(len(TOPICS)) if topic not in covered and topic not in kept]
        # With every subject covered, mutating means another wording of one of them.
        topics = rng.permutation(free or sorted(topic for topic in kept if isinstance(topic, int))).tolist()
        if credits:
            count = config.new_phrases if free else 1
        else:
            count = config.first_phrases if len(request.phrases) else config.rewrite_phrases
        added: list[str] = []
        for topic in topics[:count]:
            untried = [phrase for phrase in TOPICS[topic] if phrase not in used] or list(TOPICS[topic])
            added.append(untried[rng.integers(len(untried))])
            kept.pop(topic, None)
        return self._bound(request.original, list(kept.values()), added)

    def _bound(self, original: str, kept: list[str], added: list[str]) -> list[str]:
        """Drop the kept phrases of least credit, then added ones, until both limits hold."""
        phrases = [*added, *kept]  # what comes last goes first
        while len(phrases) > 1 and (
            len(phrases) > self._config.max_phrases or len(_write(original, phrases).split()) > self._config.max_words
        ):
            phrases.pop()
        return sorted(phrases)


def _read(instruction: str) -> _Request:
    prompts: dict[int, str] = {}
    scores: dict[int, list[float]] = {}
    original, variants = None, 1
    for line in instruction.splitlines():
        if match := _PROMPT_LINE.fullmatch(line):
            prompts[int(match[1])] = match[2]
        elif match := _SCORES_LINE.fullmatch(line):
            scores[int(match[1])] = [float(value) for value in match.groups()[1:]]
        elif match := _ORIGINAL_LINE.fullmatch(line):
            original = match[1]
        elif match := _VARIANTS.search(line):
            variants = min(max(int(match[1]), 1), _MAX_VARIANTS)
    indices = sorted(prompts.keys() & scores.keys())
    if indices[:1] == [0]:
        original = prompts[0]
    elif original is None:
        raise InputError(
            "the instruction has no scored prompt 0 and no line 'Original prompt: ...': the recombine operator needs "
            "$history or such a line in the template"
        )
    return _Request(
        original=original,
        phrases=[_phrases(prompts[index], original) for index in indices],
        scores=np.array([scores[index] for index in indices]).reshape(len(indices), len(DIMENSIONS)),
        variants=variants,
    )


def _phrases(prompt: str, original: str) -> tuple[str, ...]:
    """The clauses of a prompt beyond the original's, in lower case."""
    stem, text = text_key(original), text_key(prompt)
    if text.startswith(stem) and not text[len(stem) :][:1].isalnum():
        text = text[len(stem) :]
    known = {clause.strip() for clause in _CLAUSE_END.split(stem)}
    clauses = [clause.strip() for clause in _CLAUSE_END.split(text)]
    return tuple(dict.fromkeys(clause for clause in clauses if clause and clause not in known))


def _credits(request: _Request) -> dict[str, float]:
    """What each phrase of the earlier prompts seems worth, in units of the spread over the phrases.

    For each dimension, the regression slope of the scores on the phrase's presence, weighted with the squared share of
    the dimension's variance that it explains: a phrase earns what the prompts that have it and no others show. Summed
    over the dimensions, so that each prompt passes on what it does best.
    """
    known = sorted({phrase for phrases in request.phrases for phrase in phrases})
    if not known:
        return {}
    presence = np.array([[phrase in phrases for phrase in known] for phrases in request.phrases], float)
    presence -= presence.mean(axis=0)
    scores = request.scores - request.scores.mean(axis=0)
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
