"""Writing files so that a killed process leaves either the old file or the whole new one."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from promptavideo.errors import InputError


@contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is flushed to disk and renamed to `path`.

    The temporary name keeps the suffix, since writers often derive the format from it. On any error it is removed and
    `path` is left as it was. Without `durable` it is not flushed, which takes milliseconds a file: after a power cut it
    may be empty, which its reader must then notice.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield partial
        if durable:
            with partial.open("rb") as written:
                os.fsync(written.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def discarded(problem: str, *paths: Path) -> InputError:
    """The error of files that steps of the workflow made and that cannot be used: they are removed.

    The workflow then makes them anew, from what is in the store.

    Args:
        problem: Which file, and what is wrong with it.
        paths: The files; never one that a user wrote.
    """
    for path in paths:
        path.unlink(missing_ok=True)
    what = "It was removed" if len(paths) == 1 else "They were removed"
    return InputError(f"{problem}. {what}: run the same command again, which makes what is missing anew")


def unreadable(path: Path, what: str, error: Exception) -> InputError:
    """The error of such a file that cannot be read as what it should be.

    Args:
        path: The file.
        what: What it should be, such as `manifest of videos`.
        error: What reading it raised. If the system gave nothing of the file, nothing shows that it is damaged, and it
            stays.
    """
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: there is no {what} here; the workflow makes it")
    problem = f"{path}: is no {what} ({error})"
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(problem)
    return discarded(problem, path)


def in_bytes(size: int) -> str:
    """A number of bytes in words for people, such as `3.2 GB`."""
    unit, divisor = next(
        ((unit, 10**power) for unit, power in (("GB", 9), ("MB", 6)) if size >= 10**power), ("kB", 1000)
    )
    return f"{size / divisor:.1f} {unit}"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hold(path: Path) -> IO[str]:
    """Hold an exclusive lock for as long as the returned file is open; the system frees it however the process ends.

    Raises:
        InputError: Another process holds it, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise InputError(f"{path}: another run is at work in this folder; wait for it, or stop it first") from error
    except OSError as error:
        stream.close()
        raise InputError(
            f"{path}: the file system cannot lock it ({error.strerror}); use a folder on another"
        ) from error
    return stream
