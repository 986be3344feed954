"""Asking an operator for variants, again where an answer has too few usable ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from promptavideo.operators.base import Key, Operator, Parsed, TextLimits, parse_variants


@dataclass(frozen=True)
class Question:
    """What the operator is asked about one prompt; a variant equal to `original` or one of `filmed` is of no use."""

    instruction: str
    key: Key
    original: str
    filmed: Collection[str] = ()


@dataclass(frozen=True)
class Collected:
    """The usable variants of one question, why others were dropped, and how often it was asked."""

    variants: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    asked: int = 0
    left_out: bool = False
    """Whether it has no answer at all, and asking again is of no use."""


def ask_variants(
    operator: Operator, questions: Sequence[Question], wanted: int, limits: TextLimits, attempts: int = 1
) -> list[Collected]:
    """Ask every question, and those with fewer than `wanted` usable variants again, `attempts` times in all.

    A later attempt has the words "attempt", n after the key of the first, so that it gets another answer; its variants
    fill up what is missing. What was usable in the end is taken, though it be too little.

    Returns:
        What was collected for each question, in order.
    """
    collected = [Collected() for _ in questions]
    for attempt in range(attempts):
        short = [place for place, found in enumerate(collected) if len(found.variants) < wanted and not found.left_out]
        if not short:
            break
        again: Key = ("attempt", attempt) if attempt else ()
        requests = [(questions[place].instruction, (*questions[place].key, *again)) for place in short]
        for place, answer in zip(short, operator.answer_all(requests), strict=True):
            question, found = questions[place], collected[place]
            known = [*question.filmed, *found.variants]
            if answer.fault:
                parsed = Parsed((), (answer.fault,))
            else:
                parsed = parse_variants(answer.text, wanted, limits, question.original, known, question.instruction)
            collected[place] = Collected(
                variants=(*found.variants, *parsed.variants)[:wanted],
                dropped=tuple(dict.fromkeys((*found.dropped, *parsed.dropped))),
                asked=attempt + 1,
                left_out=bool(answer.fault),
            )
    return collected
