"""Cleaning text that somebody else wrote (a language model, a prompt file) before it is compared, filmed or shown."""

import math
import re
import unicodedata

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uff00-\uffef"
"""Characters of scripts that set no spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese), as in a
regular expression's class."""
_UNSPACED = re.compile(f"[{UNSPACED}]")

_MAX_MARKS = 4  # combining marks on one letter; more is abuse, and normalising long runs takes quadratic time


def clean_lines(text: str) -> list[str]:
    """The lines of `text`, each in NFC with single spaces.

    Zero-width, bidi and other format characters, surrogates, private and unassigned code points are removed; control
    characters become spaces. Takes time linear in the length of `text`.
    """
    visible = "".join(map(_visible, text.replace("\r\n", "\n").replace("\r", "\n")))
    # Once more after NFC, which writes a few single marks as two.
    normal = _limit_marks(unicodedata.normalize("NFC", _limit_marks(visible)))
    return [" ".join(line.split()) for line in normal.split("\n")]


def clean(text: str) -> str:
    """`text` on one line, cleaned as by `clean_lines`; cleaning twice changes nothing."""
    return " ".join(line for line in clean_lines(text) if line)


def text_key(text: str) -> str:
    """What two texts share that look the same: case, spacing, invisible characters, compatibility forms (full-width
    letters, ligatures) and the final full stop do not count."""
    return unicodedata.normalize("NFKC", clean(text)).casefold().rstrip(" .\u3002")


def count_words(text: str) -> int:
    """How many words a text has; of scripts that set no spaces between words, two characters count as one."""
    letters = sum(char.isalnum() for char in _UNSPACED.findall(text))
    return len(_UNSPACED.sub(" ", text).split()) + math.ceil(letters / 2)


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if char == "\n" or category[0] != "C":
        return char
    return " " if category == "Cc" else ""


def _limit_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)
