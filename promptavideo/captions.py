"""Captions of somebody else's dataset, made once into a table of prompts that prompt sets are slices of.

A row that cannot be a prompt is dropped and counted rather than refused (see `datasets`).
"""

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from promptavideo.datasets import Files, HubDataset, LocalDataset, Record, UrlDataset, open_dataset
from promptavideo.errors import InputError
from promptavideo.files import atomic_path
from promptavideo.progress import Progress
from promptavideo.prompts import find_fault, has_many_digits, prompt_id
from promptavideo.schemas import PROMPT_SET, read_table, write_table
from promptavideo.seeds import derive
from promptavideo.settings import Added, Ref, Section
from promptavideo.text import text_key

log = logging.getLogger(__name__)

SUFFIXES = (".parquet", ".csv", ".jsonl", ".json", ".txt")
ROWS_A_BATCH = 65_536
JSON_BYTES = 64 * 1024**2  # a list is read whole, unlike the other formats

Row = tuple[int, bytes | None]
"""A row's number in its file, from 1 without a header, and its caption; None where the row has none."""


class _Source(Section):
    """What sources have in common."""

    column: str = Field("caption", min_length=1)
    """Column or key that holds the caption."""
    max_words: int = Field(200, ge=1)
    """Longer captions are dropped."""
    drop_digits: bool = True
    """Drop captions with three or more digits, as the authors' code does."""
    without: Annotated[list[str], Ref("prompt_sources"), Added()] = Field(default_factory=list)
    """Other sources whose captions are dropped, so that what is learned from one is not tested on another."""
    seed: int = Field(0, ge=0)
    """Of the order that sets are sliced from, which does not depend on the order of files and rows."""
    order: Annotated[Literal["shuffled", "file"], Added()] = "shuffled"
    """The order that sets are sliced from: shuffled by `seed`, or that of the rows, file by file by name. In that of
    the rows a caption counts where it first stands."""
    styles: Annotated[Literal["files"] | None, Added()] = None
    """Whether captions have styles, by which a benchmark such as HPSv2 averages: `files`, the file's name without its
    suffix is the style of its captions."""
    keep: int | None = Field(None, ge=1)
    """Captions to keep from the front of that order; all when absent."""


class _Patterns(Section):
    files: list[str] = Field(["*.parquet", "*.csv", "*.jsonl"], min_length=1)
    """Glob patterns of the files to read, where `*` also matches `/`: parquet, csv, jsonl, json (one list of captions),
    txt (one caption a line)."""


class HubSource(_Patterns, HubDataset, _Source):
    """A dataset of the Hugging Face Hub at a pinned revision. A token is read from the environment (HF_TOKEN) alone."""


class LocalSource(_Patterns, LocalDataset, _Source):
    """A file or folder of yours, read like a downloaded dataset."""


class UrlSource(UrlDataset, _Source):
    """One file at an address, such as a published list of prompts; its name ends in .parquet, .csv, .jsonl, .json or
    .txt."""


Caption = tuple[str, str]
"""A caption and its style, "" where the source has no styles."""

PromptSource = Annotated[HubSource | LocalSource | UrlSource, Field(discriminator="kind")]


def read_source(
    name: str, settings: PromptSource, root: Path, table: Path, origin: Path, without: Mapping[str, Path] | None = None
) -> None:
    """Write a source's usable captions, in the order that sets are sliced from, and where they come from.

    Captions that look the same (`text.text_key`) are one prompt.

    Args:
        name: The source's name in the configuration, for messages.
        settings: Its entry.
        root: Folder that a local path is relative to.
        table: Gets a `schemas.PROMPT_SET` table (parquet).
        origin: Gets the source, its files with digests, and the counts of rows kept and dropped (JSON).
        without: The tables of the sources whose captions are dropped, by name.

    Raises:
        InputError: The source cannot be reached or read, no file matches, the column is missing, or no row is usable.
    """
    key = f"prompt_sources.{name}"
    files = open_dataset(settings, key, root, SUFFIXES)
    record, chosen = Record(), dict[str, Caption]()
    others = {
        text_key(text): f"in {other}"
        for other, path in (without or {}).items()
        for text in read_table(path, PROMPT_SET)["prompt"]
    }
    progress = Progress(f"read {name}", len(files.names), "files")
    for file in files.names:
        with files.errors():
            _take(files, file, settings, others, record, chosen)
        progress.advance(1)
    if not chosen:
        raise InputError(
            f"{files.key}: none of {record.rows} rows is usable as a prompt ({record.told}); check `column` and `files`"
        )
    captions = {prompt_id(text): (text, style) for text, style in chosen.values()}
    ids = list(captions)
    if settings.order == "shuffled":
        ids.sort(key=lambda one: (derive("caption order", settings.seed, one), one))
    ids = ids[: settings.keep]
    kept = pd.DataFrame({"prompt_id": ids, "prompt": [captions[one][0] for one in ids]}, dtype="str")
    if settings.styles:
        kept["style"] = pd.Series([captions[one][1] for one in ids], dtype="str")
    write_table(kept, table, PROMPT_SET)
    with atomic_path(origin) as partial:
        content = {
            "source": settings.model_dump(),
            "revision": files.revision,
            "files": files.digests,
            **record.content(),
            "usable": len(chosen),
            "kept": len(ids),
            **({"kept_by_style": dict(Counter(kept["style"]))} if settings.styles else {}),
        }
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("%s: kept %d of %d rows; dropped: %s", name, len(ids), record.rows, record.told)


def _take(
    files: Files, file: str, settings: _Source, others: Mapping[str, str], record: Record, chosen: dict[str, Caption]
) -> None:
    """Add a file's usable captions to `chosen` by what look-alikes share, but for those that `others` have."""
    style = PurePosixPath(file).stem if settings.styles else ""
    with files.open(file) as stream:
        for number, given in _rows(f"{files.key}: {file}", PurePosixPath(file).suffix, settings.column, stream):
            record.rows += 1
            text, kind = _usable(given, settings)
            if kind:
                record.drop(kind, file, number)
                continue
            key = text_key(text)
            if key in others:
                record.drop(others[key], file, number)
                continue
            caption = (text, style)
            earlier = chosen.setdefault(key, caption)
            if earlier is caption:
                continue
            record.drop("duplicate" if earlier[1] == style else "duplicate of another style", file, number)
            if settings.order == "shuffled":
                # Of spellings that count as one, the first by alphabet: no order of files decides.
                chosen[key] = min(earlier, caption)


def _usable(caption: bytes | None, settings: _Source) -> tuple[str, str]:
    """A caption's text, and what rules it out or ""."""
    if caption is None:
        return "", "no text"
    try:
        text = caption.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "", "not UTF-8"
    if fault := find_fault(text, settings.max_words, ""):
        return "", fault.kind
    if settings.drop_digits and has_many_digits(text):
        return "", "three or more digits"
    return text, ""


def _rows(where: str, suffix: str, column: str, stream: IO[bytes]) -> Iterator[Row]:
    """The captions of a file, as bytes, since whoever wrote it may not have written UTF-8."""
    match suffix:
        case ".parquet":
            return _parquet(where, column, stream)
        case ".csv":
            return _csv(where, column, stream)
        case ".jsonl":
            return _jsonl(column, stream)
        case ".json":
            return _json(where, stream)
        case _:
            return ((number, line.rstrip(b"\r\n")) for number, line in enumerate(stream, 1))


def _parquet(where: str, column: str, stream: IO[bytes]) -> Iterator[Row]:
    """Reads the footer and the one column; with a remote file nothing else is fetched."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream, pre_buffer=True)
        if column not in file.schema_arrow.names:
            raise InputError(_no_column(where, column, file.schema_arrow.names))
        kind = file.schema_arrow.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)):
            raise InputError(f"{where}: column {column!r} holds {kind}, not text; name the column of the captions")
        number = 0
        for batch in file.iter_batches(columns=[column], batch_size=ROWS_A_BATCH):
            values = batch.column(0)
            values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
            # Its bytes: text that is not UTF-8 raises for the whole batch otherwise.
            for value in values.cast(pa.large_binary()).to_pylist():
                number += 1
                yield number, value
    except pa.ArrowException as error:
        raise InputError(f"{where}: cannot be read as parquet ({error}); fetch the file again") from error


def _csv(where: str, column: str, stream: IO[bytes]) -> Iterator[Row]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    records = csv.reader(text)
    number = 0
    try:
        header = next(records, [])
        if column not in header:
            raise InputError(_no_column(where, column, header))
        place = header.index(column)
        for record in records:
            if record:
                number += 1
                # A record with another number of fields has lost its quotes, and with them where the caption ends.
                whole = len(record) == len(header)
                yield number, record[place].encode("utf-8", "surrogateescape") if whole else None
    except csv.Error as error:
        raise InputError(f"{where}, row {number + 1}: not valid CSV ({error}); mend or leave out the file") from error


def _jsonl(column: str, stream: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)[column]
        except UnicodeDecodeError:
            yield number, line  # which counts it as not UTF-8
        except (ValueError, RecursionError, KeyError, TypeError):
            yield number, None
        else:
            yield number, value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None


def _json(where: str, stream: IO[bytes]) -> Iterator[Row]:
    """The elements of one list."""
    data = stream.read(JSON_BYTES + 1)
    if len(data) > JSON_BYTES:
        raise InputError(f"{where}: a .json file is read whole, up to {JSON_BYTES:,} bytes; make it .jsonl, one a line")
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid JSON ({error}); fetch the file again, or leave it out") from error
    if not isinstance(values, list):
        raise InputError(f"{where}: one JSON list of captions is needed, and this is none; leave out the file")
    for number, value in enumerate(values, 1):
        yield number, value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None


def _no_column(where: str, column: str, names: Iterable[str]) -> str:
    return f"{where}: no column {column!r} among {', '.join(names)[:200]}; name the column of the captions in `column`"
