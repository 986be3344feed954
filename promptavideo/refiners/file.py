"""Prompts that were refined elsewhere, read from a file."""

import csv
import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from promptavideo.answers import bound
from promptavideo.errors import InputError
from promptavideo.prompts import CHARACTERS_A_WORD, prompt_id
from promptavideo.refiners.base import Refiner
from promptavideo.settings import Section

log = logging.getLogger(__name__)

NAMED = 20  # ids of each kind of fault that a message names


class FileRefinerConfig(Section):
    """Texts made elsewhere, one row a prompt; rows of other prompts may be there too."""

    kind: Literal["file"]
    file: str = Field(pattern=r"\.(csv|jsonl|parquet)$")
    """Path relative to the repository root."""
    key: Literal["prompt_id", "prompt"] = "prompt"
    """Column that tells which prompt a row is of: its text (case and white space aside) or its id."""
    column: str = Field("refined", min_length=1)
    """Column that holds the refined text."""
    max_words: int = Field(200, ge=1)
    """Longer texts are cut after their last whole sentence."""


class FileRefiner(Refiner):
    """Looks each prompt's text up."""

    def __init__(self, config: FileRefinerConfig, name: str, root: Path) -> None:
        """Read the file.

        Args:
            config: Its entry.
            name: The refiner's name, for messages.
            root: Folder that `config.file` is relative to.

        Raises:
            InputError: The file cannot be read, or a column is missing.
        """
        self._config, self._key, self._path = config, f"refiners.{name}", root / config.file
        self._rows: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for number, (key, text) in enumerate(_read(self._key, config, self._path), 1):
            identity = prompt_id(key) if config.key == "prompt" else key.strip()
            self._rows[identity].append((number, text))

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """Each prompt's text, as one clean line of bounded length.

        Raises:
            InputError: A prompt has no row, several, or one without text; one message names all such prompts.
        """
        missing, repeated, empty, texts = list[str](), list[str](), list[str](), list[str]()
        for identity, prompt in zip(prompt_ids, prompts, strict=True):
            rows, shown = self._rows.get(identity, []), f"{identity} {prompt[:40]!r}"
            text = self._clean(rows[0][1]) if rows else ""
            if not rows:
                missing.append(shown)
            elif len(rows) > 1:
                repeated.append(f"{shown} in rows {' and '.join(str(number) for number, _ in rows[:5])}")
            elif not text:
                empty.append(f"{shown} in row {rows[0][0]}")
            texts.append(text)
        faults = [
            f"{len(found)} of {len(prompts)} prompts {what}: {'; '.join(found[:NAMED])}"
            + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")
            for what, found in (("have no row", missing), ("have several", repeated), ("have no text", empty))
            if found
        ]
        if faults:
            raise InputError(f"{self._key}.file: {self._path}: {'. '.join(faults)}. Mend the file and run again")
        if cut := sum(self._long(self._rows[identity][0][1]) for identity in prompt_ids):
            log.warning("%s: %d texts are longer than %d words and were cut", self._path, cut, self._config.max_words)
        return texts

    def _clean(self, text: str) -> str:
        return bound(text[: CHARACTERS_A_WORD * self._config.max_words], self._config.max_words)[0]

    def _long(self, text: str) -> bool:
        limit = self._config.max_words
        return len(text) > CHARACTERS_A_WORD * limit or len(text.split()) > limit


def _read(key: str, config: FileRefinerConfig, path: Path) -> Iterator[tuple[str, str]]:
    """The key and the text of each row; a value that is missing or no text is empty."""
    reader = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix]
    try:
        columns, rows = reader(path, (config.key, config.column))
    except UnicodeDecodeError as error:
        raise InputError(f"{key}.file: {path}: not UTF-8 ({error}); save it as UTF-8") from error
    except FileNotFoundError:
        raise InputError(f"{key}.file: {path} does not exist; check the path (relative to the repository)") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{key}.file: {path}: cannot be read as {path.suffix[1:]} ({error}); make it again") from error
    for name, column in (("key", config.key), ("column", config.column)):
        if column not in columns:
            known = ", ".join(columns)[:200]
            raise InputError(f"{key}.{name}: {path}: no column {column!r} among {known}; name the one to use")
    for identity, text in rows:
        yield (identity if isinstance(identity, str) else "", text if isinstance(text, str) else "")


Table = tuple[list[str], list[tuple[object, object]]]
"""All column names, and the values of the two that were asked for."""


def _csv(path: Path, columns: tuple[str, str]) -> Table:
    rows = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
    values: list[tuple[object, object]] = []
    for row in rows:
        if None in row:
            raise ValueError(f"line {rows.line_num} has more fields than the header; put quotes around commas")
        values.append((row.get(columns[0]), row.get(columns[1])))
    return list(rows.fieldnames or []), values


def _jsonl(path: Path, columns: tuple[str, str]) -> Table:
    names: dict[str, None] = {}
    values: list[tuple[object, object]] = []
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        names |= dict.fromkeys(row)
        values.append((row.get(columns[0]), row.get(columns[1])))
    return list(names), values


def _parquet(path: Path, columns: tuple[str, str]) -> Table:
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    table = pq.read_table(path, columns=[name for name in columns if name in names])
    values = [table[name].to_pylist() if name in names else [None] * len(table) for name in columns]
    return names, list(zip(*values, strict=True))
