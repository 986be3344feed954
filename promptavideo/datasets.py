"""Somebody else's dataset: where its files are, what tells their content apart, and what became of its rows.

No code of a dataset runs, and whoever made it owes this project nothing: rows that cannot be used are counted.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from promptavideo.download import PinnedFile
from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.hub import UNPINNED, RepoId, Revision, hub_errors, token
from promptavideo.settings import Section

log = logging.getLogger(__name__)

SHOWN = 5  # rows of each kind of fault that a record names


class Dataset(Section):
    """What all datasets have in common."""

    @property
    def files_here(self) -> list[str]:
        """What is read of this machine, and watched; what a pinned revision or digest holds does not change."""
        return []


class HubDataset(Dataset):
    """A dataset of the Hugging Face Hub at a pinned revision. A token is read from the environment (HF_TOKEN) alone."""

    kind: Literal["hub"]
    repo_id: RepoId
    """`owner/name` of the dataset on the Hub."""
    revision: Revision
    """Commit hash, tag or `unpinned`: the newest commit once, whose hash is recorded beside the table."""
    files: list[str] = Field(min_length=1)
    """Glob patterns of the files to read, where `*` also matches `/`."""


class LocalDataset(Dataset):
    """A file or folder of yours, read like a downloaded dataset."""

    kind: Literal["local"]
    path: str = Field(min_length=1)
    """Absolute, or relative to the repository root."""
    files: list[str] = Field(min_length=1)
    """Glob patterns of the files of a folder to read, where `*` also matches `/`."""

    @property
    def files_here(self) -> list[str]:
        """The file or folder."""
        return [self.path]


class UrlDataset(PinnedFile, Dataset):
    """One file at an address, which must have its SHA-256."""

    kind: Literal["url"]


@dataclass
class Record:
    """What became of a dataset's rows."""

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

    @property
    def told(self) -> str:
        """How many rows were dropped, by kind."""
        return ", ".join(f"{count} {kind}" for kind, count in self.dropped.most_common()) or "none"

    def content(self) -> dict[str, Any]:
        """What a file that keeps it holds."""
        return {
            "rows": self.rows,
            "dropped": dict(sorted(self.dropped.items())),
            "dropped_examples": dict(sorted(self.examples.items())),
        }


class Files(ABC):
    """A dataset's files: which there are, what they hold, and how to read them."""

    revision: str | None = None
    """The commit or tag they are of, if they are of one."""
    _errors: Callable[[], AbstractContextManager[None]] = nullcontext
    """Turns what only this kind of dataset raises into such errors."""

    def __init__(
        self, key: str, where: str, digests: dict[str, str], patterns: list[str], suffixes: Collection[str]
    ) -> None:
        """Choose the files to read.

        Args:
            key: The dataset's entry in the configuration.
            where: The dataset, for messages.
            digests: All its files, as paths with forward slashes, and what tells their content apart.
            patterns: Glob patterns of those to read.
            suffixes: The types of file that can be read.

        Raises:
            InputError: No file matches, or one that does is of an unknown type.
        """
        self.key = key
        self.names = sorted(file for file in digests if any(fnmatch(file, pattern) for pattern in patterns))
        if not self.names:
            some = ", ".join(sorted(digests)[:5]) or "nothing"
            raise InputError(f"{key}.files: no file of {where} matches {', '.join(patterns)}; it holds {some}")
        for file in self.names:
            if PurePosixPath(file).suffix not in suffixes:
                raise self._strange(file, ", ".join(suffixes))
        self.digests = {file: digests[file] for file in self.names}

    def _strange(self, file: str, known: str) -> InputError:
        return InputError(f"{self.key}.files: {file} is of no type that can be read ({known}); narrow the patterns")

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


class _LocalFiles(Files):
    def __init__(self, key: str, settings: LocalDataset, root: Path, suffixes: Collection[str]) -> None:
        path = root / settings.path
        if not path.exists():
            raise InputError(f"{key}.path: {path} does not exist; check the path (relative to the repository)")
        self._root = path if path.is_dir() else path.parent
        found = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        names = {one.relative_to(self._root).as_posix(): one for one in found}
        patterns = settings.files if path.is_dir() else [path.name]
        super().__init__(key, str(path), dict.fromkeys(names, ""), patterns, suffixes)
        self.digests = {file: f"sha256:{sha256(names[file])}" for file in self.names}

    def open(self, file: str) -> IO[bytes]:
        return (self._root / file).open("rb")


class _HubFiles(Files):
    def __init__(self, key: str, settings: HubDataset, suffixes: Collection[str]) -> None:
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
        where = f"{settings.repo_id} at revision {self.revision}"
        super().__init__(key, where, digests, settings.files, suffixes)

    def open(self, file: str) -> IO[bytes]:
        """Parquet is read in place, so that its other columns stay where they are; other files are downloaded."""
        from huggingface_hub import HfFileSystem, hf_hub_download

        repo_id, revision = self._repo_id, self.revision
        if file.endswith(".parquet"):
            stream: IO[bytes] = HfFileSystem(token=token()).open(f"datasets/{repo_id}/{file}", "rb", revision=revision)
            return stream
        path = hf_hub_download(repo_id, file, repo_type="dataset", revision=revision, token=token())
        return Path(path).open("rb")


class _UrlFile(Files):
    def __init__(self, key: str, settings: UrlDataset, suffixes: Collection[str]) -> None:
        name = PurePosixPath(unquote(urlsplit(settings.url).path)).name
        super().__init__(key, settings.url, {name: ""}, ["*"], suffixes)
        self._folder = TemporaryDirectory(prefix="promptavideo-dataset-")  # kept as long as the files
        self._file = Path(self._folder.name, "file")
        self.digests = {name: f"sha256:{settings.download(self._file, key)}"}

    def _strange(self, file: str, known: str) -> InputError:
        return InputError(f"{self.key}.url: {file!r} is of no type that can be read ({known}); take another file")

    def open(self, file: str) -> IO[bytes]:
        return self._file.open("rb")


def open_dataset(settings: Dataset, key: str, root: Path, suffixes: Collection[str]) -> Files:
    """Find the files of a dataset to read.

    Args:
        settings: Its entry.
        key: The entry's place in the configuration, such as `prompt_sources.webvid`, for messages.
        root: Folder that a local path is relative to.
        suffixes: The types of file that can be read.

    Raises:
        InputError: It cannot be reached, no file matches, or one that does is of another type.
    """
    match settings:
        case HubDataset():
            return _HubFiles(key, settings, suffixes)
        case UrlDataset():
            return _UrlFile(key, settings, suffixes)
        case LocalDataset():
            return _LocalFiles(key, settings, root, suffixes)
        case _:
            raise TypeError(f"{type(settings).__name__} is no dataset")
