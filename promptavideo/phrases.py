"""Whether a text says a phrase twice."""

import itertools
import re

from promptavideo.judges.words import HYPHENS, Word, normal, words_of
from promptavideo.text import UNSPACED

LEAST = 2
"""Words with content of a phrase. Of scripts that set no spaces two characters count as one word."""
_ONE_CHARACTER = re.compile(f"[{UNSPACED}]")


def repeats(text: str) -> str | None:
    """The first phrase that a text says twice, as it stands there the second time; None if it says none twice.

    A phrase is two or more words with content that follow one another, with nothing but function words between them
    and no punctuation. Case and inflection do not count, and the two places share no word.

    >>> repeats("a ball, well lit, steady camera, well lit")
    'well lit'
    >>> repeats("a red ball and a blue ball, steady camera") is None
    True
    """
    plainly = normal(text)
    first: dict[tuple[str, ...], int] = {}
    before = 0
    for words in _clauses(plainly):
        for place in range(len(words)):
            phrase, at = _phrase(plainly, words[place : place + 2 * LEAST]), before + place
            keys = list(itertools.product(*(word.forms for word in phrase))) if phrase else []
            if any(first.get(key, at) + len(phrase) <= at for key in keys):
                return plainly[phrase[0].start : phrase[-1].end]
            for key in keys:
                first.setdefault(key, at)
        before += len(words)
    return None


def _clauses(text: str) -> list[list[Word]]:
    """The words with content of a `normal` text, by what no punctuation parts."""
    clauses: list[list[Word]] = [[]]
    end = 0
    for word in words_of(text):
        if text[end : word.start].strip("".join((" ", *HYPHENS))):
            clauses.append([])
        if word.forms:
            clauses[-1].append(word)
        end = word.end
    return clauses


def _phrase(text: str, words: list[Word]) -> list[Word]:
    """The shortest phrase at the beginning of some words; none if they are too few."""
    weight = 0.0
    for count, word in enumerate(words, 1):
        weight += 0.5 if _ONE_CHARACTER.match(text, word.start) else 1.0
        if weight >= LEAST:
            return words[:count]
    return []
