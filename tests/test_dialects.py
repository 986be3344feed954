"""The dialects of the world's qualities: whole, apart from each other, and translated without loss."""

import re
from itertools import chain, combinations

import numpy as np
import pytest

from promptavideo.miniature import world
from promptavideo.miniature.dialects import DIALECTS, Dialect, distract, translate
from promptavideo.miniature.world import QUALITIES, caption, random_scene


def said(text: str, dialect: Dialect) -> dict[str, list[int]]:
    """The ends, 0 good and 1 bad, of each quality that a text names in a dialect."""
    return {
        quality: [
            end for end in (0, 1) for word in ends[end] if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
        ]
        for quality, ends in dialect.items()
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_has_words_for_both_ends_of_every_quality(name: str) -> None:
    assert tuple(DIALECTS[name]) == QUALITIES
    assert all(len(set(words)) >= 3 for ends in DIALECTS[name].values() for words in ends)
    assert not re.search(r"[.,;:\d]", "".join(chain(*chain(*DIALECTS[name].values()))))  # clauses end there


def test_no_word_is_of_two_dialects_or_of_the_content() -> None:
    words = [{word.lower() for word in chain(*chain(*dialect.values()))} for dialect in DIALECTS.values()]
    content = {
        word.lower()
        for bank in (world.SHAPE_WORDS, world.MOTION_WORDS, world.BACKGROUND_WORDS)
        for word in chain(*bank.values())
    }
    assert not any(one & other for one, other in combinations([*words, content], 2))


def test_a_translation_says_the_same_in_other_words() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        plain = caption(random_scene(rng), rng)
        told = translate(plain, DIALECTS["crew"], rng)
        assert said(told, DIALECTS["crew"]) == said(plain, DIALECTS["plain"]), (plain, told)
        assert not any(said(told, DIALECTS["plain"]).values()), told
        assert told[0].isupper() == plain[0].isupper()


def test_distractions_are_of_both_ends_alike_and_leave_the_rest() -> None:
    rng = np.random.default_rng(0)
    found: list[int] = []
    for _ in range(300):
        told = distract("A red ball rising.", DIALECTS["plain"], rng)
        assert "A red ball rising." in told
        ends = said(told, DIALECTS["plain"])
        assert sum(map(bool, ends.values())) >= 1 and all(len(one) <= 1 for one in ends.values()), told
        found += chain(*ends.values())
    assert abs(np.mean(found) - 0.5) < 0.06
