"""The words of a text, as they are compared with another text's: inflections, numbers and scripts without spaces."""

import unicodedata
from decimal import Decimal
from typing import NamedTuple

import regex

from promptavideo.text import UNSPACED, clean

_FUNCTION = """
a an the this that these those i me my you your he him his she her hers it its we us our they them their who whom whose
which what there here am is are was were be been being do does did has have had having can could will would shall should
may might must and or but so as if than then while when where because also too very just quite even of in on at to from
by for with into onto upon about during 的 了 着 是 の は が を に
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""Words without content. Those of place and direction, of number and of negation have some."""

_IRREGULAR = """
man men, woman women, child children, person people, foot feet, tooth teeth, mouse mice, goose geese, knife knives,
wife wives, life lives, run ran, sit sat, stand stood, hold held, fly flew flown, swim swam swum, ride rode ridden,
drive drove driven, wear wore worn, go went gone, sing sang sung, eat ate eaten, fall fell fallen, hide hid hidden,
break broke broken, make made, build built, freeze froze frozen, throw threw thrown, blow blew blown, grow grew grown,
not cannot
"""
IRREGULAR = {form: base for base, *forms in map(str.split, _IRREGULAR.split(",")) for form in forms}

_CUT = r"ing$(?<=[aeiouy].*ing)|(?<!e)ed$(?<=[aeiouy].*ed)"
INFLECTED = tuple(
    (regex.compile(ending), base)
    for ending, base in (
        (r"(?<![su])s$", ""),
        (r"(?<=[sxzho])es$", ""),
        (r"ie[sd]$", "y"),
        (r"ves$", "f"),
        (r"ying$", "ie"),
        (_CUT, ""),
        (_CUT, "e"),
        (rf"([^aeiou])\1(?:{_CUT})", r"\1"),
    )
)
"""English endings, and what a base may have in their place: of the bases that a word gets, most are no words."""

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: number for number, word in enumerate(_SMALL.split())}
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
MULTIPLIERS = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
SPELT = SMALL | TENS | MULTIPLIERS

HYPHENS = ("-", "\u2010")

_LETTER = rf"(?:(?![{UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}])"
_TOKEN = regex.compile(
    rf"(?=[\p{{L}}\p{{N}}])[{UNSPACED}]\p{{M}}*"
    rf"|(?P<digits>(?:\d{{1,3}}(?:,\d{{3}}){{1,6}}|\d{{1,18}})(?:\.\d{{1,18}})?)(?!{_LETTER})"
    rf"|{_LETTER}+(?:['\u2019]{_LETTER}+)*"
)


class Word(NamedTuple):
    """A word of a text: its characters text[start:end]."""

    start: int
    end: int
    forms: frozenset[str]
    """What it may be an inflection of; words that share one are equal. A function word has none."""


def normal(text: str) -> str:
    """A text as `words_of` takes it: in NFKC, without invisible characters."""
    return unicodedata.normalize("NFKC", clean(text))


def words_of(text: str) -> list[Word]:
    """The words of a `normal` text, in order.

    The parts of a hyphenated word are words, and two neighbours among them have what they make without the hyphen as a
    form. A number is one word, in digits or spelt. In scripts that set no spaces each character is a word.
    """
    found: list[Word] = []
    last, value = "", None
    for match in _TOKEN.finditer(text):
        token = unicodedata.normalize("NFKC", match[0].casefold()).replace("\u2019", "'")
        token = "not" if token.endswith("n't") else regex.sub("'(?:s|m|re|ve|ll|d)$", "", token)
        number = _number(token, match["digits"])
        between = text[found[-1].end : match.start()] if found else ""
        if between in (" ", *HYPHENS) and (joined := _joined(last, value, token, number)) is not None:
            found[-1] = Word(found[-1].start, match.end(), _forms(token, joined))
            last, value = token, joined
            continue
        forms = _forms(token, number)
        if between in HYPHENS and forms and found[-1].forms:
            forms |= {last + token}
            found[-1] = found[-1]._replace(forms=found[-1].forms | {last + token})
        found.append(Word(match.start(), match.end(), forms))
        last, value = token, number
    return found


def _forms(token: str, number: Decimal | None) -> frozenset[str]:
    if number is not None:
        return frozenset({f"{number.normalize():f}"})
    if token in FUNCTION_WORDS:
        return frozenset()
    bases = (ending.subn(base, token) for ending, base in INFLECTED)
    return frozenset({token, IRREGULAR.get(token, token), *(base for base, cut in bases if cut and len(base) > 1)})


def _number(token: str, digits: str | None) -> Decimal | None:
    if digits:
        return Decimal(digits.replace(",", ""))
    number = unicodedata.numeric(token, None) if len(token) == 1 else SPELT.get(token)  # 三 is 3
    return None if number is None else Decimal(number)


def _joined(last: str, value: Decimal | None, token: str, number: Decimal | None) -> Decimal | None:
    """The number that two neighbours make, such as twenty-five, two hundred or 5 million; None if they make none."""
    if value is None or number is None:
        return None
    if token in MULTIPLIERS and value < number:
        return value * number
    return value + number if last in TENS and token in SMALL and 0 < number < 10 else None
