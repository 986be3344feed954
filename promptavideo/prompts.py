"""Sets of short user prompts: read from a text file or a source of captions, told apart by ids made from the text."""

import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from promptavideo.errors import InputError, require
from promptavideo.files import unreadable
from promptavideo.seeds import derive
from promptavideo.settings import Added, File, Planning, Ref, Section
from promptavideo.text import text_key
from promptavideo.user_files import read_columns, read_text

log = logging.getLogger(__name__)

Repeated = Literal["refuse", "first"]
"""What becomes of a prompt that a file holds several times: an error, or the first counts."""
MANY_DIGITS = 3  # the authors' code drops prompts with this many digits
CHARACTERS_A_WORD = 20  # bounds texts without spaces
STYLE_WORDS = 8  # bounds the name of a style, which becomes a column
QUOTED = 60  # characters of a prompt that a message repeats


class PromptSet(Section):
    """A file of prompts, or a source of captions, and the part of it to use.

    The order of work is: read and check every line, leave out repeats, drop prompts with digits, shuffle, slice. A
    source has done all but the slice, so that slices of one source can be told apart by `first` and `count` alone.
    """

    file: Annotated[str | None, File()] = Field(None, pattern=r"\.(txt|csv|jsonl)$")
    """Path relative to the repository root: `.txt` (one prompt a line, `#` starts a comment line), `.csv`, `.jsonl`."""
    source: Annotated[str | None, Ref("prompt_sources")] = None
    """Instead of `file`: a name in `prompt_sources`. It needs `count`, since planning comes before the download."""
    column: str = Field("prompt", min_length=1)
    """Column (`.csv`) or key (`.jsonl`) that holds the prompt."""
    style_column: Annotated[str | None, Added()] = Field(None, min_length=1)
    """Column (`.csv`) or key (`.jsonl`) that holds the prompt's style, by which a benchmark such as HPSv2 averages."""
    first: int = Field(0, ge=0)
    """Prompts to skip."""
    count: int | None = Field(None, ge=1)
    """Prompts to take; all the rest when absent."""
    max_words: Annotated[int, Planning()] = Field(200, ge=1)
    """A longer prompt is an error."""
    drop_digits: bool = False
    """Drop prompts with three or more digits, as the authors' code does."""
    repeated: Repeated = "refuse"
    """Whether a prompt that repeats an earlier one is an error or, since benchmarks repeat some, left out (`first`)."""
    shuffle: bool = False
    """Put the prompts in a fixed pseudo-random order that does not depend on the file's."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.source is None):
            raise ValueError("give either `file` or `source`; an overlay sets the other to null")
        if self.source is not None:
            if self.count is None:
                raise ValueError("a set from a source needs `count`, so that a run can be planned before the download")
            for name in ("column", "style_column", "max_words", "drop_digits", "repeated", "shuffle"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"`{name}` belongs to the source, which all its sets share (prompt_sources); leave it out"
                    )
        if self.style_column is not None and self.path.endswith(".txt"):
            raise ValueError("`style_column` names a column, which text files do not have; give a .csv or .jsonl")
        return self

    @property
    def path(self) -> str:
        """What the set is sliced from, relative to the repository root."""
        return self.file if self.file is not None else f"resources/prompts/{self.source}.parquet"


@dataclass(frozen=True)
class Fault:
    """What makes a text unusable as a prompt: a short kind to count by, and what is wrong and what to do."""

    kind: str
    message: str


@dataclass(frozen=True)
class _Line:
    """A prompt, the number, from 1, of the line where it begins, and its style if the file has styles."""

    number: int
    text: str
    style: str | None = None


def prompt_id(text: str) -> str:
    """A prompt's stable name ("p" and 12 hexadecimal digits), the same whatever its case and white space."""
    return "p" + hashlib.sha256(_normal(text).encode()).hexdigest()[:12]


def load_prompt_set(name: str, settings: PromptSet, root: Path) -> pd.DataFrame:
    """Read a prompt set as a table of `schemas.PROMPT_SET`.

    A prompt keeps every character of the file but outer white space.

    Args:
        name: The set's name in the configuration, for messages.
        settings: Which file or source, and which part of it.
        root: Folder that `settings.path` is relative to.

    Raises:
        InputError: The file is missing, empty or not UTF-8; a line holds no usable prompt, no style where the set has
            styles, or repeats an earlier one; the slice reaches outside the file; the source has not been read yet.
    """
    if settings.source is not None:
        return _sliced(name, settings, root / settings.path)
    lines = _selected(name, settings, root)
    columns = {"prompt_id": [prompt_id(line.text) for line in lines], "prompt": [line.text for line in lines]}
    styles = {"style": [line.style for line in lines]} if settings.style_column else {}
    return pd.DataFrame({**columns, **styles}, dtype="str")


def count_prompts(settings: PromptSet, root: Path, name: str = "*") -> int:
    """How many prompts `load_prompt_set` gives, without making the table. Raises what it raises.

    A set from a source counts as its configuration says: the source may not be here yet.
    """
    if settings.source is not None:
        return require(settings.count, f"prompt_sets.{name}.count: is missing")
    return len(_selected(name, settings, root))


def check_disjoint(sets: Mapping[str, pd.DataFrame], pairs: Iterable[tuple[str, str]]) -> None:
    """Check that each pair of sets shares no prompt that looks the same (`text.text_key`).

    Args:
        sets: Tables of `schemas.PROMPT_SET` by name.
        pairs: Names of sets that must be disjoint, such as what a booster learns from and what it is tested on.

    Raises:
        InputError: Two sets of a pair share a prompt; names both sets, the first shared prompt and the number shared.
    """
    for one, other in pairs:
        known = set(map(text_key, sets[other]["prompt"]))
        shared = sets[one][sets[one]["prompt"].map(lambda text, known=known: text_key(text) in known)]
        if len(shared):
            raise InputError(
                f"prompt_sets.{one} and prompt_sets.{other} must not share prompts, but {len(shared)} stand in both, "
                f"first {_quote(shared['prompt'].iloc[0])}; take them out of one of the files"
            )


def check_slices(sets: Mapping[str, PromptSet], pairs: Iterable[tuple[str, str]]) -> None:
    """Check that sets cut from one source do not overlap, which needs no download.

    Args:
        sets: Entries of the configuration by name.
        pairs: Names of sets that must be disjoint.

    Raises:
        InputError: Two slices overlap; names both and the places.
    """
    for one, other in pairs:
        first, second = sets[one], sets[other]
        if first.source is None or first.source != second.source:
            continue
        begin = max(first.first, second.first)
        end = min(entry.first + (entry.count or 0) for entry in (first, second))
        if begin < end:
            raise InputError(
                f"prompt_sets.{one} and prompt_sets.{other} must not share prompts, but both take places {begin} to "
                f"{end - 1} of source {first.source}; move `first` of one of them"
            )


def check_styles(evaluation_set: str, styles: Sequence[str], prompt_set: str, table: pd.DataFrame) -> None:
    """Check that a set's prompts have the styles that an evaluation names, and no other.

    Args:
        evaluation_set: The evaluation set, for messages.
        styles: What it names.
        prompt_set: The name of its prompt set.
        table: That, a `schemas.PROMPT_SET` table.

    Raises:
        InputError: A style has no prompt, or prompts have another style; names all of these.
    """
    found = list(dict.fromkeys(table["style"])) if "style" in table else []
    lacking = [style for style in styles if style not in found]
    others = [style for style in found if style not in styles]
    faults = [
        *([f"prompt_sets.{prompt_set} has no prompt of style {_listed(lacking)}"] if lacking else []),
        *([f"prompts of prompt_sets.{prompt_set} have another style, {_listed(others)}"] if others else []),
    ]
    if faults:
        raise InputError(
            f"evaluation.sets.{evaluation_set}.styles: {' and '.join(faults)}; mend the styles there or here"
        )


def has_many_digits(text: str) -> bool:
    """Whether a prompt has three or more digits; the authors' code drops such prompts."""
    return sum(character in "0123456789" for character in text) >= MANY_DIGITS


def find_fault(text: str, max_words: int, key: str) -> Fault | None:
    """What makes a text unusable as a prompt, if anything.

    Args:
        text: The prompt without outer white space.
        max_words: A longer prompt is a fault.
        key: The entry of the configuration that sets `max_words`, for messages.
    """
    for place, character in enumerate(text, 1):
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp"):  # controls, halves of surrogate pairs, line and paragraph separators
            where = f"U+{ord(character):04X} at character {place} of the prompt"
            return Fault("control character", f"control character {where}; replace it by a space")
    if all(unicodedata.category(character)[0] in "CZ" for character in text):
        return Fault("empty", "the prompt is empty; write one or take the line out")
    words = len(text.split())
    if words > max_words:
        message = f"{words} words, more than {key}.max_words={max_words}; shorten the prompt or raise the limit"
        return Fault("too long", message)
    if len(text) > CHARACTERS_A_WORD * max_words:
        limit = f"{CHARACTERS_A_WORD} x {key}.max_words={max_words}"
        message = f"{len(text)} characters, more than {limit}; shorten the prompt or raise the limit"
        return Fault("too long", message)
    return None


def _sliced(name: str, settings: PromptSet, path: Path) -> pd.DataFrame:
    """A slice of a source's table."""
    import pyarrow.parquet as pq

    key = f"prompt_sets.{name}"
    try:
        source = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{key}.source: {path} does not exist yet; read the source first: snakemake {path}") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, f"table of captions, which {key}.source names", error) from error
    count = settings.count or 0
    if settings.first + count > source.num_rows:
        raise InputError(
            f"{key}: first={settings.first} and count={count} reach outside {path}, which has {source.num_rows} "
            "prompts; lower them, or let the source keep more"
        )
    table: pd.DataFrame = source.slice(settings.first, count).to_pandas()
    return table.astype("str")


def _selected(name: str, settings: PromptSet, root: Path) -> list[_Line]:
    key, path = f"prompt_sets.{name}", root / settings.path
    lines = list(_read(key, settings, path))
    if not lines:
        raise InputError(f"{key}.file: {path} holds no prompt; put one prompt a line into it")
    lines = _without_repeats(key, path, lines, settings.repeated)
    if settings.drop_digits:
        lines = [line for line in lines if not has_many_digits(line.text)]
    if settings.shuffle:
        lines.sort(key=lambda line: (derive("prompt order", prompt_id(line.text)), prompt_id(line.text)))
    end = len(lines) if settings.count is None else settings.first + settings.count
    if settings.first >= len(lines) or end > len(lines):
        wanted = f"first={settings.first}" + ("" if settings.count is None else f" and count={settings.count}")
        left = " left after drop_digits" if settings.drop_digits else ""
        raise InputError(f"{key}: {wanted} reach outside {path}, which has {len(lines)} prompts{left}; lower them")
    return lines[settings.first : end]


def _read(key: str, settings: PromptSet, path: Path) -> Iterator[_Line]:
    """Checked prompts of a file, in its order."""
    lines = _text_lines(key, path) if path.suffix == ".txt" else _table_lines(key, settings, path)
    for line in lines:
        text = line.text.strip()
        if fault := find_fault(text, settings.max_words, key):
            raise InputError(f"{key}.file: {path}, line {line.number}: {fault.message}")
        yield _Line(line.number, text, line.style)


def _text_lines(key: str, path: Path) -> Iterator[_Line]:
    # Not splitlines(): it also breaks at characters that are errors within a prompt.
    for number, line in enumerate(read_text(f"{key}.file", path).replace("\r\n", "\n").split("\n"), 1):
        if line.strip(" \t") and not line.lstrip(" \t").startswith("#"):
            yield _Line(number, line)


def _table_lines(key: str, settings: PromptSet, path: Path) -> Iterator[_Line]:
    columns = {"column": settings.column} | ({"style_column": settings.style_column} if settings.style_column else {})
    for number, (value, *rest) in read_columns(key, path, columns):
        if not isinstance(value, str):
            raise InputError(
                f"{key}.file: {path}, line {number}: {settings.column!r} must be text, not {json.dumps(value)[:QUOTED]}"
            )
        where = f"{key}.style_column: {path}, line {number}"
        yield _Line(number, value, *(_style(where, columns["style_column"], one) for one in rest))


def _style(where: str, column: str, value: object) -> str:
    """The style of a line, which its column must have."""
    style = value.strip() if isinstance(value, str) else ""
    if not style:
        raise InputError(
            f"{where}: {column!r} must name the prompt's style, not {json.dumps(value)[:QUOTED]}; every prompt of a "
            "set with styles has one"
        )
    if fault := find_fault(style, STYLE_WORDS, ""):
        raise InputError(f"{where}: {column!r} is no name of a style ({fault.kind}); give a few words")
    return style


def _without_repeats(key: str, path: Path, lines: list[_Line], repeated: Repeated) -> list[_Line]:
    """The first line of each prompt."""
    seen: dict[str, _Line] = {}
    left_out: list[int] = []
    elsewhere = 0
    for line in lines:
        earlier = seen.setdefault(text_key(line.text), line)
        if earlier is line:
            continue
        if repeated == "refuse":
            raise InputError(
                f"{key}.file: {path}: lines {earlier.number} and {line.number} hold the same prompt "
                f"{_quote(line.text)} (case, white space, invisible characters and a final full stop aside); "
                "delete one of them, or leave repeats out with `repeated: first`"
            )
        left_out.append(line.number)
        elsewhere += earlier.style != line.style
    if left_out:
        shown = ", ".join(map(str, left_out[:5])) + ("" if len(left_out) <= 5 else ", …")
        styled = f" ({elsewhere} of them in another style)" if elsewhere else ""
        log.info("%s: left out %d lines that repeat an earlier prompt%s: %s", key, len(left_out), styled, shown)
    return list(seen.values())


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _listed(names: Sequence[str]) -> str:
    """A few names as a message repeats them."""
    return ", ".join(map(_quote, names[:5])) + ("" if len(names) <= 5 else ", …")


def _quote(text: str) -> str:
    return repr(text if len(text) <= QUOTED else text[: QUOTED - 1] + "…")
