"""What a language model means as its answer, and what it writes beside it or in its place."""

import re
import unicodedata
from collections.abc import Callable

from promptavideo.text import UNSPACED, clean, clean_lines, count_words

# Every quantifier is bounded, so that no text makes these slow.
_THOUGHT_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}(?:think|thinking|thought|thoughts|reasoning)\s{0,3}>", re.IGNORECASE)
LIST_MARK = re.compile(r"(?:\d{1,2}[.)]|[-*•])\s")
_WHAT = r"(?:prompt|paraphrase|variant|version|rewrite|text|description)s?"
_PLACEHOLDER = re.compile(
    rf"(?:(?:your|my|the|a|an|new|final|refined|rewritten|improved|original|paraphrased|first|second|third|next)\s){{0,3}}"
    rf"{_WHAT}(?:\s#?\d{{1,2}}|\s(?:goes\s)?here)?",
    re.IGNORECASE,
)
_SORRY = re.compile(
    r"(?:(?:i|we)(?:['\u2019]m|['\u2019]re|\sam|\sare)\s(?:\w{1,10}\s){0,2}(?:sorry|afraid|unable|not able)"
    r"|(?:sorry|unfortunately|apologies)\b|i\s(?:must\s)?apologi[sz]e|as an ai\b"
    r"|(?:i|we)\s(?:can\s?not|can['\u2019]t|could not|couldn['\u2019]t|won['\u2019]t|will not))",
    re.IGNORECASE,
)
_OF_THE_TASK = re.compile(
    r"\b(?:assist|help|fulfil{1,2}|comply|request|rewrite|refine|paraphrase|generate|prompts?|guidelines|"
    r"polic(?:y|ies)|language model|content)\b",
    re.IGNORECASE,
)
_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")
_WITHIN = ",;:\uff0c\u3001\uff1b\uff1a"
"""What ends a clause within a sentence."""
_CLAUSE_ENDS = (*_SENTENCE_ENDS, *_WITHIN)
_MARKS = "".join(_CLAUSE_ENDS)
_LEAD = 160
"""Characters at the beginning of an answer in which a refusal says what it refuses."""

FOREIGN_SHARE = 0.2
"""Of a text's letters that may be of other scripts: names and signs are not translated."""


def without_thoughts(text: str) -> str:
    """What a model wrote after its last thought, whether or not the thought's opening tag was sent with it.

    Of an answer that never came to the end of its thoughts nothing is left but what stands before them.
    """
    kept: list[str] = []
    start = depth = 0
    for tag in _THOUGHT_TAG.finditer(text):
        if tag[1]:
            if depth == 0:
                kept.clear()  # all before was thought: the template had sent the opening tag
            start, depth = tag.end(), 0
        elif depth == 0:
            kept.append(text[start : tag.start()])
            depth = 1
    return "".join(kept) + ("" if depth else text[start:])


def no_prompt(text: str) -> str:
    """Why a text is no prompt though it stands where one should: "" if nothing speaks against it.

    Args:
        text: What a model gave as a prompt, with its line ends.
    """
    lines = [line for line in clean_lines(text) if line]
    line = clean(text)
    bare = line.strip(" .:*_\"'")
    if not any(char.isalnum() for char in line):
        return "empty"
    if len(lines) > 1 and sum(bool(LIST_MARK.match(one)) for one in lines) > 1:
        return "a list"
    if (line[0], line[-1]) in (("[", "]"), ("{", "}")) or _PLACEHOLDER.fullmatch(bare):
        return "a placeholder"
    if _SORRY.match(line) and _OF_THE_TASK.search(line[:_LEAD]):
        return "a refusal"
    return ""


def foreign_script(text: str, script: str | None) -> bool:
    """Whether more than a fifth of a text's letters are of another script than wanted.

    Args:
        text: The text.
        script: As Unicode's names of letters begin, e.g. `latin`, `cyrillic` or `cjk`; None wants none.
    """
    letters = [char for char in text if char.isalpha()]
    if script is None or not letters:
        return False
    foreign = sum(not unicodedata.name(char, "").lower().startswith(script) for char in letters)
    return foreign > FOREIGN_SHARE * len(letters)


def bound(text: str, max_words: int) -> tuple[str, bool]:
    """An answer as one clean line of at most `max_words` words, and whether it was cut.

    A text that is too long is cut after its last whole sentence, or after so many words if it has none.
    """
    line = clean(text)
    if count_words(line) <= max_words:
        return line, False
    kept: list[str] = []
    for piece in _pieces(line):
        if count_words("".join([*kept, piece])) > max_words:
            break
        kept.append(piece)
    ends = [place for place, piece in enumerate(kept, 1) if piece.endswith(_SENTENCE_ENDS)]
    return "".join(kept[: ends[-1]] if ends else kept).strip(), True


def fit(text: str, fits: Callable[[str], bool]) -> tuple[str, bool]:
    """An answer as one clean line that `fits`, and whether it was cut.

    A text that does not fit is cut after its last clause, or after its last word where a clause would lose more than
    half of what fits. One of which not even the first word fits stays whole.
    """
    line = clean(text)
    if fits(line):
        return line, False
    pieces = _pieces(line)
    starts = ["".join(pieces[:place]).strip() for place in range(1, len(pieces) + 1)]
    most = next((place for place in range(len(starts), 0, -1) if fits(starts[place - 1].rstrip(_MARKS))), 0)
    if most == 0:
        return line, False
    ends = (place for place in range(most, most // 2, -1) if starts[place - 1].endswith(_CLAUSE_ENDS))
    kept = starts[next(ends, most) - 1].rstrip(_WITHIN)
    return (kept if fits(kept) else kept.rstrip(_MARKS)), True


def _pieces(line: str) -> list[str]:
    """Words with the space before them, or single characters of scripts that set no spaces."""
    return re.findall(rf"\s?[^\s{UNSPACED}]+|\s?[{UNSPACED}]", line)
