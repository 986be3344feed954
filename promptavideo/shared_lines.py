"""An append-only file of JSON lines that several processes write to and read."""

import fcntl
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

log = logging.getLogger(__name__)

L = TypeVar("L")


class SharedLines(ABC, Generic[L]):
    """Lines, each a dataclass, that are only ever added; a subclass sums up what they say."""

    def __init__(self, path: Path, line: type[L]) -> None:
        """Name the file, which need not exist, and the dataclass."""
        self.path, self._form = path, TypeAdapter(line)
        self._read_to = 0

    @abstractmethod
    def _enter(self, line: L) -> None:
        """Take in one more line; called for each once, in the file's order."""

    def _append(self, line: L) -> None:
        """Add a line."""
        with self._locked() as append:
            append(line)

    @contextmanager
    def _locked(self) -> Iterator[Callable[[L], None]]:
        """Take in what others appended, and yield what appends; nobody else reads or writes meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:

            def append(line: L) -> None:
                text = self._form.dump_json(line) + b"\n"
                stream.write(text)
                stream.flush()
                self._read_to += len(text)
                self._enter(line)

            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(self._read_to)
            text = stream.read()
            if text and not text.endswith(b"\n"):  # a process died while it wrote; nobody writes now
                stream.write(b"\n")
                stream.flush()
                text += b"\n"
            self._read_to += len(text)
            for line in text.splitlines():
                try:
                    known = self._form.validate_json(line, strict=True)
                except ValueError:
                    log.warning("%s: a line is damaged and counts for nothing: %.80r", self.path, line)
                else:
                    self._enter(known)
            yield append


def now() -> str:
    """The time of a line."""
    return datetime.now(UTC).isoformat(timespec="seconds")
