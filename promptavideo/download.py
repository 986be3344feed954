"""One file from an address: limited in size, resumed after a break, verified before anybody reads it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.hub import UNPINNED
from promptavideo.settings import Section

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds without an answer after which a server counts as unreachable."""

_CHUNK = 1 << 20

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PinnedFile(Section):
    """A file at an address, and what it must hold."""

    url: str = Field(pattern=r"^(https?|file)://\S+$")
    """Address; `file://` for a file of this machine."""
    sha256: Digest | Literal["unpinned"]
    """Of the file; required, since an address promises nothing about what it gives tomorrow. `unpinned` takes what it
    gives once, and records the digest."""
    max_bytes: int = Field(100_000_000, ge=1)
    """Nothing larger is fetched."""

    def download(self, target: Path, key: str) -> str:
        """Put the file into `target`, where a part that an earlier call left is continued, and return its SHA-256.

        Args:
            target: The file.
            key: The entry of the configuration that names it, for messages.

        Raises:
            InputError: See `download`.
        """
        if self.sha256 != UNPINNED:
            download(self.url, target, self.sha256, self.max_bytes, key)
            return self.sha256
        target.unlink(missing_ok=True)  # nothing would tell whether a rest fits to an old beginning
        download(self.url, target, None, self.max_bytes, key)
        found = sha256(target)
        log.warning("%s.sha256: takes what is there today; write %s there to pin it", key, found)
        return found


def download(url: str, target: Path, digest: str | None, max_bytes: int, key: str) -> None:
    """Put what `url` gives into `target`; a part of it that an earlier call left there is continued.

    Args:
        url: An http, https or file address.
        target: The file; it stays when the transfer breaks off, and goes when its content is wrong.
        digest: The SHA-256 that the whole file must have; None takes any.
        max_bytes: Nothing larger is taken, nor read to its end.
        key: The entry of the configuration that asks, such as `models.head`, for messages.

    Raises:
        InputError: The address cannot be read, breaks off, gives too much, or gives another file.
    """
    had = target.stat().st_size if target.exists() else 0
    with _errors(url, key):
        _transfer(url, target, had, max_bytes, key)
    found = sha256(target)
    if digest in (None, found):
        return
    target.unlink()
    if had:  # the rest of another file may have been put behind an old beginning
        log.warning("%s: the resumed download of %s does not fit together; fetching it from its beginning", key, url)
        download(url, target, digest, max_bytes, key)
        return
    raise InputError(
        f"{key}.sha256: {url} gave a file with {found}, expected {digest}; check the address, and correct the digest "
        "only if you trust that file"
    )


def _transfer(url: str, target: Path, had: int, max_bytes: int, key: str) -> None:
    request = Request(url, headers={"Range": f"bytes={had}-"} if had else {})
    try:
        answer = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if had and error.code == 416:  # nothing is left after what is there already
            return
        raise
    with answer:
        resumed = getattr(answer, "status", None) == 206
        size = had if resumed else 0
        left = answer.headers.get("Content-Length")
        total = size + int(left) if left and left.isdigit() else None
        with target.open("ab" if resumed else "wb") as stream:
            while size <= max_bytes and (chunk := answer.read(_CHUNK)):
                stream.write(chunk)
                size += len(chunk)
    if size > max_bytes:
        target.unlink()
        raise InputError(
            f"{key}.max_bytes: {url} gives more than {max_bytes} bytes; check the address, or raise the limit"
        )
    if total is not None and size < total:
        raise InputError(f"{key}: {url} broke off after {size} of {total} bytes; run again, the download resumes")


@contextmanager
def _errors(url: str, key: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise InputError(f"{key}.url: {url} answers {error.code} {error.reason}; check the address") from error
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(
            f"{key}.url: {url} cannot be fetched ({error}); run again with a network (what has arrived is kept), or "
            "put what it gives on this machine and name that instead"
        ) from error
