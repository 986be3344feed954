"""The dialects in which the qualities of the world's scenes can be asked for.

Every generator of the world understands the words of its content, but each the quality words of one dialect alone. So
what one generator likes means nothing to another, as between real models. "plain" says what one sees; "crew" names
what a film crew would order for it. A term of "crew" was kept if the generator of "plain" films hardly differently with
it: by less than an eighth of what the worst and the best plain words part each reward by, over 24 prompts.
"""

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np

from promptavideo.miniature.world import QUALITIES, QUALITY_WORDS

Dialect = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""(good, bad) wordings of each quality factor."""

CREW_WORDS: Dialect = {
    "focus": (
        ("prime lens", "master prime", "process lens", "large format gate", "Zeiss glass"),
        ("super eight stock", "wide-open aperture", "Petzval glass", "net stocking filter", "toy camera glass"),
    ),
    "light": (
        ("DC ballast", "regulated supply", "union gaffer"),
        ("mains hum", "loose gel frame", "arc gap fault", "rolling shutter banding"),
    ),
    "speed": (
        ("twelve-frame crank", "march cadence", "polka cadence", "undercranked"),
        ("ninety-six-frame crank", "dirge cadence", "lullaby cadence", "hymn cadence"),
    ),
    "camera": (
        ("dolly track", "studio pedestal", "crane arm", "fluid head", "geared head"),
        ("verite style", "gonzo style", "found-footage genre", "helmet mount"),
    ),
    "saturation": (
        ("Kodachrome stock", "Ektachrome stock", "dye-transfer print", "Technicolor print"),
        ("sepia tone bath", "flashed negative", "log profile", "skip-bleach print"),
    ),
    "exposure": (
        ("open iris", "arc lamps", "beauty dish", "noon call", "maxi brute"),
        ("noir setup", "one-candle setup", "pulled three stops", "day-for-night"),
    ),
}

DialectName = Literal["plain", "crew"]
DIALECTS: Mapping[DialectName, Dialect] = {"plain": QUALITY_WORDS, "crew": CREW_WORDS}

_ENDS = {phrase: (quality, end) for quality, ends in QUALITY_WORDS.items() for end in (0, 1) for phrase in ends[end]}
_PHRASES = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _ENDS), key=len, reverse=True))})\b", re.IGNORECASE)


def translate(text: str, dialect: Dialect, rng: np.random.Generator) -> str:
    """A plain caption with other words of the same meaning for its qualities.

    Args:
        text: A caption of `world.caption`.
        dialect: Gives the words.
        rng: Chooses among words of one meaning.
    """

    def other(found: re.Match[str]) -> str:
        quality, end = _ENDS[found[0].lower()]
        word = str(rng.choice(dialect[quality][end]))
        return word[0].upper() + word[1:] if found[0][0].isupper() else word

    return _PHRASES.sub(other, text)


def distract(text: str, dialect: Dialect, rng: np.random.Generator) -> str:
    """A caption with words of a dialect before or behind it, on some of the qualities, good and bad by a fair coin."""
    words = [
        str(rng.choice(dialect[quality][rng.integers(2)]))
        for quality in rng.permutation(QUALITIES)[: rng.integers(1, len(QUALITIES) + 1)]
    ]
    said = ", ".join(words)
    return f"{said}, {text}" if rng.random() < 0.3 else f"{text} {said[0].upper()}{said[1:]}."
