"""Asking an operator for variants, again where an answer has too few usable ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptavideo.operators.base import Key, Operator, Parsed, Request, TextLimits, parse_variants


@dataclass(frozen=True)
class Collected:
    """The usable variants of one request, why others were dropped, and how often it was asked."""

    variants: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    asked: int = 0
    left_out: bool = False
    """Whether it has no answer at all, and asking again is of no use."""


def ask_variants(
    operator: Operator, requests: Sequence[Request], limits: TextLimits, attempts: int = 1
) -> list[Collected]:
    """Ask every request, and those with fewer usable variants than wanted again, `attempts` times in all.

    A later attempt has the words "attempt", n after the key of the first, so that it gets another answer; its variants
    fill up what is missing. What was usable in the end is taken, though it be too little.

    Returns:
        What was collected for each request, in order.
    """
    collected = [Collected() for _ in requests]
    for attempt in range(attempts):
        short = [
            place
            for place, found in enumerate(collected)
            if len(found.variants) < requests[place].variants and not found.left_out
        ]
        if not short:
            break
        again: Key = ("attempt", attempt) if attempt else ()
        asked = [replace(requests[place], key=(*requests[place].key, *again)) for place in short]
        for place, request, answer in zip(short, asked, operator.answer_all(asked), strict=True):
            found, wanted = collected[place], request.variants
            known = [*request.filmed, *found.variants]
            if answer.fault:
                parsed = Parsed((), (answer.fault,))
            else:
                parsed = parse_variants(
                    answer.text, wanted, limits, request.prompt, known, request.instruction, request.fits
                )
            collected[place] = Collected(
                variants=(*found.variants, *parsed.variants)[:wanted],
                dropped=tuple(dict.fromkeys((*found.dropped, *parsed.dropped))),
                asked=attempt + 1,
                left_out=bool(answer.fault),
            )
    return collected
