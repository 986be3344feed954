"""Negative prompts: lists of descriptors of what a video shall not show, read from files and from answers of models."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from promptavideo.answers import LIST_MARK, no_prompt, without_thoughts
from promptavideo.errors import InputError
from promptavideo.judges.words import normal, words_of
from promptavideo.operators.asking import ask_variants
from promptavideo.operators.base import Example, Key, Operator, Request, TextLimits, render_instruction
from promptavideo.settings import File, Ref, Section
from promptavideo.text import clean, clean_lines, count_words, text_key
from promptavideo.user_files import read_text

if TYPE_CHECKING:
    import pandas as pd

MAX_CHARACTERS = 20_000
"""Of an answer; what it holds beyond is not read."""

_LABEL = re.compile(r"\s{0,3}(?:the\s)?negative(?:\sprompts?)?\s{0,3}:", re.IGNORECASE)
_PARTS = re.compile(r"[,;\n\uff0c\u3001\uff1b]")
_SENTENCE = re.compile(r"[.!?\u3002]\s|[!?\u3002]$")
_NEGATION = re.compile(r"(?:no|not|without|avoid|don['\u2019]t|do not|never)\s", re.IGNORECASE)


class DescriptorLimits(Section):
    """Bounds on the descriptors that a negative prompt is made of."""

    max_descriptors: int = Field(default=20, ge=1)
    """Further ones are dropped."""
    max_words: int = Field(default=5, ge=1)
    """Of one descriptor; what has more words is a sentence, and dropped."""


class NegativesConfig(Section):
    """The rule of negative pairs: an operator derives negative prompts from the evolved texts that SFT learns from."""

    operator: Annotated[str, Ref("operators")]
    """Name of the operator."""
    template: Annotated[str, File()] = "templates/negative.txt"
    """The instruction, in which `$prompt` is an evolved text."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while its answer is unusable."""
    limits: TextLimits = TextLimits()
    """Of its answers."""
    descriptors: DescriptorLimits = DescriptorLimits()


class Subject(NamedTuple):
    """What a negative prompt is for."""

    prompt_id: str
    prompt: str
    """The user's prompt, whose words no descriptor may have; "" where the descriptors are the same for all."""
    text: str
    """The text that is filmed."""


class Written(NamedTuple):
    """What a model wrote for one text."""

    answer: str
    faults: Sequence[str] = ()
    """Why there is no answer, or why a part of it was dropped before it was read."""


@dataclass
class Negatives:
    """Reads negative prompts, and counts what was not taken; recorded beside the texts."""

    limits: DescriptorLimits
    texts: int = 0
    without: int = 0
    """Texts that are left without a negative prompt of their own."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Descriptors, or whole answers, that were not taken, by reason."""

    def read(self, written: Written, subject: Subject) -> str | None:
        """The negative prompt that an answer gives, as descriptors with commas between; None if nothing is left.

        A descriptor that has a word of the user's prompt would have the film avoid what it shall show, and one that
        negates would have it show what it shall avoid: both are dropped, as are sentences and repetitions.
        """
        self.texts += 1
        self.dropped.update(written.faults)
        kept: dict[str, str] = {}
        asked = {form for word in words_of(normal(subject.prompt)) for form in word.forms}
        for part in self._parts(written.answer):
            key = text_key(part)
            if _SENTENCE.search(part) or count_words(part) > self.limits.max_words:
                self.dropped["a sentence"] += 1
            elif _NEGATION.match(part):
                self.dropped["a negation"] += 1
            elif any(asked & word.forms for word in words_of(normal(part))):
                self.dropped["with a word of the prompt"] += 1
            elif key in kept:
                self.dropped["repeated"] += 1
            elif len(kept) == self.limits.max_descriptors:
                self.dropped[f"more than {self.limits.max_descriptors}"] += 1
            else:
                kept[key] = part
        negative = ", ".join(kept.values())
        if negative and text_key(negative) == text_key(subject.text):
            self.dropped["equal to its prompt"] += 1
            negative = ""
        self.without += not negative
        return negative or None

    def _parts(self, answer: str) -> list[str]:
        """The descriptors of an answer, each in one clean line."""
        said = without_thoughts(answer[:MAX_CHARACTERS])
        fault = no_prompt(said)
        if fault and fault != "a list":
            if answer:
                self.dropped[fault] += 1
            return []
        parts = []
        for line in clean_lines(_LABEL.sub("", said, count=1)):
            bare = line[mark.end() :] if (mark := LIST_MARK.match(line)) else line
            parts += [clean(part).strip(" .\"'*_`") for part in _PARTS.split(bare)]
        return [part for part in parts if any(char.isalnum() for char in part)]

    def report(self) -> str:
        """What was counted, in one line; empty if everything was taken."""
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.dropped.most_common())
        if not reasons and not self.without:
            return ""
        return f"{self.without} of {self.texts} texts have no negative prompt; not taken: {reasons or 'nothing'}"

    def record(self) -> dict[str, Any]:
        """What is recorded: counts."""
        return {"texts": self.texts, "without": self.without, "dropped": dict(sorted(self.dropped.items()))}


def read_fixed(path: Path, limits: DescriptorLimits) -> str:
    """The negative prompt of a text file, the same for all texts.

    Raises:
        InputError: It cannot be read, or holds something else than descriptors with commas between.
    """
    negatives = Negatives(limits)
    found = negatives.read(Written(read_text("the negative prompt", path)), Subject("", "", ""))
    if found is None or negatives.dropped:
        faults = ", ".join(negatives.dropped) or "empty"
        raise InputError(
            f"{path}: must hold descriptors with commas between, at most {limits.max_descriptors} of "
            f"{limits.max_words} words each; found: {faults}"
        )
    return found


def pairs_of(
    evolved: "pd.DataFrame", operator: Operator, template: str, config: NegativesConfig, run_seed: int
) -> "tuple[pd.DataFrame, Negatives]":
    """SFT data of boosters of negative prompts.

    Args:
        evolved: A `schemas.PAIRS` table of the evolution.
        operator: Writes a negative prompt for each of its refined texts.
        template: Its instruction.
        config: The rule.
        run_seed: The run's seed.

    Returns:
        A `schemas.PAIRS` table whose prompts are the refined texts and whose answers are the negative prompts; and what
        was counted. A text without a usable negative prompt has no row.

    Raises:
        InputError: No text at all has one.
    """
    negatives = Negatives(config.descriptors)
    subjects = [Subject(*row) for row in evolved[["prompt_id", "prompt", "refined"]].itertuples(index=False, name=None)]
    key = ("negatives", run_seed)
    answers = ask(operator, template, subjects, (), config.limits, config.attempts, key)
    read = [negatives.read(one, subject) for one, subject in zip(answers, subjects, strict=True)]
    kept = [place for place, one in enumerate(read) if one is not None]
    if not kept:
        raise InputError(f"evolution gives no negative prompt to learn from: {negatives.report()}")
    pairs = evolved.iloc[kept].reset_index(drop=True)
    pairs["prompt"], pairs["refined"] = pairs["refined"], [read[place] for place in kept]
    return pairs.astype({"refined": "str"}), negatives


def ask(
    operator: Operator,
    template: str,
    subjects: Sequence[Subject],
    examples: Sequence[Example],
    limits: TextLimits,
    attempts: int,
    key: Key,
) -> list[Written]:
    """An operator's negative prompt for each text.

    Args:
        operator: Answers.
        template: The instruction, in which `$prompt` stands for the text that is filmed.
        subjects: The texts.
        examples: Texts with good negative prompts, for `$examples`.
        limits: Bounds on an answer.
        attempts: How often it is asked, at most, while its answer is unusable.
        key: What the requests' keys begin with.
    """
    requests = [
        Request(
            render_instruction(template, one.text, examples=examples, example="Prompt"),
            (*key, one.prompt_id),
            one.text,
            wants="negative",
            examples=examples,
        )
        for one in subjects
    ]
    answers = ask_variants(operator, requests, limits, attempts)
    return [Written(found.variants[0] if found.variants else "", found.dropped) for found in answers]
