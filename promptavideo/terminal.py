"""The terminal for this project's own lines: what libraries write by themselves goes to a log file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_STREAMS = (1, 2)

_kept: dict[int, IO[str]] = {}
"""The streams that lead to the terminal, by descriptor, while the descriptors themselves lead to a file."""


def stream(descriptor: int) -> IO[str]:
    """Where lines for the terminal go: 1 for results, 2 for the rest."""
    return _kept.get(descriptor, sys.stdout if descriptor == 1 else sys.stderr)


@contextmanager
def redirected(log: Path | None) -> Iterator[None]:
    """Let a new file have what this process and its children write to standard output and standard error.

    By descriptor, so that native code is covered too. Without a file nothing is changed.
    """
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    _flush()
    for descriptor in _STREAMS:
        _kept[descriptor] = os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="backslashreplace")
        os.dup2(target, descriptor)
    os.close(target)
    try:
        yield
    finally:
        give_back()


def give_back() -> None:
    """Let the descriptors lead to the terminal again: at the end, or before this process becomes another program."""
    _flush()
    for descriptor, kept in _kept.items():
        kept.flush()
        os.dup2(kept.fileno(), descriptor)
    _kept.clear()


def _flush() -> None:
    for written in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a log on a full disk
            written.flush()
