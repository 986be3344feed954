"""Captions of somebody else's dataset, made once into a table of prompts that prompt sets are slices of.

No code of the dataset runs: its files are read as text or as parquet. Whoever made them owes this project nothing, so a
row that cannot be a prompt is dropped and counted rather than refused.
"""

import csv
import io
import json
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.files import atomic_path, sha256
from promptavideo.hub import UNPINNED, RepoId, Revision, hub_errors, token
from promptavideo.progress import Progress
from promptavideo.prompts import find_fault, has_many_digits, prompt_id
from promptavideo.schemas import PROMPT_SET, write_table
from promptavideo.seeds import derive
from promptavideo.settings import Section
from promptavideo.text import text_key

log = logging.getLogger(__name__)

SUFFIXES = (".parquet", ".csv", ".jsonl", ".txt")
ROWS_A_BATCH = 65_536
SHOWN = 5  # rows of each kind of fault that the record names

Row = tuple[int, bytes | None]
"""A row's number in its file, from 1 without a header, and its caption; None where the row has none."""


class _Source(Section):
    """What sources have in common."""

    files: list[str] = Field(["*.parquet", "*.csv", "*.jsonl"], min_length=1)
    """Glob patterns of the files to read, where `*` also matches `/`: parquet, csv, jsonl, txt (one caption a line)."""
    column: str = Field("caption", min_length=1)
    """Column or key that holds the caption."""
    max_words: int = Field(200, ge=1)
    """Longer captions are dropped."""
    drop_digits: bool = True
    """Drop captions with three or more digits, as the authors' code does."""
    seed: int = Field(0, ge=0)
    """Of the order that sets are sliced from, which does not depend on the order of files and rows."""
    keep: int | None = Field(None, ge=1)
    """Captions to keep from the front of that order; all when absent."""

    @property
    def files_here(self) -> list[str]:
        """What is read of this machine, and watched; what a pinned revision holds does not change."""
        return []


class HubSource(_Source):
    """A dataset of the Hugging Face Hub at a pinned revision. A token is read from the environment (HF_TOKEN) alone."""

    kind: Literal["hub"]
    repo_id: RepoId
    """`owner/name` of the dataset on the Hub."""
    revision: Revision
    """Commit hash, tag or `unpinned`: the newest commit once, whose hash is recorded beside the table."""


class LocalSource(_Source):
    """A file or folder of yours, read like a downloaded dataset."""

    kind: Literal["local"]
    path: str = Field(min_length=1)
    """Absolute, or relative to the repository root."""

    @property
    def files_here(self) -> list[str]:
        """The file or folder."""
        return [self.path]


PromptSource = Annotated[HubSource | LocalSource, Field(discriminator="kind")]


@dataclass
class Record:
    """What became of a source's rows."""

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows by what made them unusable."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first rows of each kind, as `file, row N`."""

    def drop(self, kind: str, file: str, number: int) -> None:
        """Count a row that is left out."""
        self.dropped[kind] += 1
        named = self.examples.setdefault(kind, [])
        if len(named) < SHOWN:
            named.append(f"{file}, row {number}")


def read_source(name: str, settings: PromptSource, root: Path, table: Path, origin: Path) -> None:
    """Write a source's usable captions, in the order that sets are sliced from, and where they come from.

    Captions that look the same (`text.text_key`) are one prompt.

    Args:
        name: The source's name in the configuration, for messages.
        settings: Its entry.
        root: Folder that a local path is relative to.
        table: Gets a `schemas.PROMPT_SET` table (parquet).
        origin: Gets the source, its files with digests, and the counts of rows kept and dropped (JSON).

    Raises:
        InputError: The source cannot be reached or read, no file matches, the column is missing, or no row is usable.
    """
    key = f"prompt_sources.{name}"
    files = _HubFiles(key, settings) if isinstance(settings, HubSource) else _LocalFiles(key, settings, root)
    record, chosen = Record(), dict[str, str]()
    progress = Progress(f"read {name}", len(files.names), "files")
    for file in files.names:
        with files.errors():
            _take(files, file, settings, record, chosen)
        progress.advance(1)
    if not chosen:
        raise InputError(
            f"{files.key}: none of {record.rows} rows is usable as a prompt ({_counts(record.dropped)}); check "
            "`column` and `files`"
        )
    texts = {prompt_id(text): text for text in chosen.values()}
    ids = sorted(texts, key=lambda one: (derive("caption order", settings.seed, one), one))[: settings.keep]
    write_table(pd.DataFrame({"prompt_id": ids, "prompt": [texts[one] for one in ids]}, dtype="str"), table, PROMPT_SET)
    with atomic_path(origin) as partial:
        content = {
            "source": settings.model_dump(),
            "revision": files.revision,
            "files": files.digests,
            "rows": record.rows,
            "dropped": dict(sorted(record.dropped.items())),
            "dropped_examples": dict(sorted(record.examples.items())),
            "usable": len(chosen),
            "kept": len(ids),
        }
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("%s: kept %d of %d rows; dropped: %s", name, len(ids), record.rows, _counts(record.dropped))


def _take(files: "_Files", file: str, settings: _Source, record: Record, chosen: dict[str, str]) -> None:
    """Add a file's usable captions to `chosen` by what look-alikes share."""
    with files.open(file) as stream:
        for number, caption in _rows(f"{files.key}: {file}", PurePosixPath(file).suffix, settings.column, stream):
            record.rows += 1
            text, kind = _usable(caption, settings)
            if kind:
                record.drop(kind, file, number)
                continue
            key = text_key(text)
            if key in chosen:
                record.drop("duplicate", file, number)
            # Of spellings that count as one, the first by alphabet: no order of files decides.
            chosen[key] = min(text, chosen.get(key, text))


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


def _counts(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in dropped.most_common()) or "none"


class _Files(ABC):
    """A source's files: which there are, what they hold, and how to read them."""

    revision: str | None = None
    """The commit or tag they are of, if they are of one."""
    _errors: Callable[[], AbstractContextManager[None]] = nullcontext
    """Turns what only this kind of source raises into such errors."""

    def __init__(self, key: str, where: str, digests: dict[str, str], patterns: list[str]) -> None:
        """Choose the files to read.

        Args:
            key: The source's entry in the configuration.
            where: The source, for messages.
            digests: All files of the source, as paths with forward slashes, and what tells their content apart.
            patterns: Glob patterns of those to read.

        Raises:
            InputError: No file matches, or one that does is of an unknown type.
        """
        self.key = key
        self.names = sorted(file for file in digests if any(fnmatch(file, pattern) for pattern in patterns))
        if not self.names:
            some = ", ".join(sorted(digests)[:5]) or "nothing"
            raise InputError(f"{key}.files: no file of {where} matches {', '.join(patterns)}; it holds {some}")
        for file in self.names:
            if PurePosixPath(file).suffix not in SUFFIXES:
                known = ", ".join(SUFFIXES)
                raise InputError(f"{key}.files: {file} is of no type that can be read ({known}); narrow the patterns")
        self.digests = {file: digests[file] for file in self.names}

    @abstractmethod
    def open(self, file: str) -> IO[bytes]:
        """A stream of the file's bytes that can seek."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what reading raises into errors for people."""
        try:
            with self._errors():
                yield
        except OSError as error:
            raise InputError(f"{self.key}: cannot be read ({error}); check it and run again") from error


class _LocalFiles(_Files):
    def __init__(self, key: str, settings: LocalSource, root: Path) -> None:
        path = root / settings.path
        if not path.exists():
            raise InputError(f"{key}.path: {path} does not exist; check the path (relative to the repository)")
        self._root = path if path.is_dir() else path.parent
        found = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        names = {one.relative_to(self._root).as_posix(): one for one in found}
        patterns = settings.files if path.is_dir() else [path.name]
        super().__init__(key, str(path), dict.fromkeys(names, ""), patterns)
        self.digests = {file: f"sha256:{sha256(names[file])}" for file in self.names}

    def open(self, file: str) -> IO[bytes]:
        return (self._root / file).open("rb")


class _HubFiles(_Files):
    def __init__(self, key: str, settings: HubSource) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        self._repo_id, self.revision = settings.repo_id, settings.revision
        self._errors = lambda: hub_errors(key, "dataset", settings.repo_id, settings.revision)
        api = HfApi(token=token())
        with self._errors():
            if settings.revision == UNPINNED:
                self.revision = str(api.dataset_info(settings.repo_id).sha)
                log.warning("%s.revision: takes the newest commit; write %s there to pin it", key, self.revision)
            tree = api.list_repo_tree(settings.repo_id, recursive=True, revision=self.revision, repo_type="dataset")
            listed = [entry for entry in tree if isinstance(entry, RepoFile)]
        digests = {
            entry.path: f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}" for entry in listed
        }
        super().__init__(key, f"{settings.repo_id} at revision {self.revision}", digests, settings.files)

    def open(self, file: str) -> IO[bytes]:
        """Parquet is read in place, so that its other columns stay where they are; other files are downloaded."""
        from huggingface_hub import HfFileSystem, hf_hub_download

        repo_id, revision = self._repo_id, self.revision
        if file.endswith(".parquet"):
            stream: IO[bytes] = HfFileSystem(token=token()).open(f"datasets/{repo_id}/{file}", "rb", revision=revision)
            return stream
        path = hf_hub_download(repo_id, file, repo_type="dataset", revision=revision, token=token())
        return Path(path).open("rb")


def _rows(where: str, suffix: str, column: str, stream: IO[bytes]) -> Iterator[Row]:
    """The captions of a file, as bytes, since whoever wrote it may not have written UTF-8."""
    match suffix:
        case ".parquet":
            return _parquet(where, column, stream)
        case ".csv":
            return _csv(where, column, stream)
        case ".jsonl":
            return _jsonl(column, stream)
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


def _no_column(where: str, column: str, names: Iterable[str]) -> str:
    return f"{where}: no column {column!r} among {', '.join(names)[:200]}; name the column of the captions in `column`"
