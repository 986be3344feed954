"""What VBench's networks are loaded from: each file fetched once, verified, and put where VBench looks for it.

Everything lands below one folder, so that compute nodes need no network: VBench's own files in its layout, those of
torch.hub below `torch/`, those of the Hugging Face Hub below `huggingface/`.
"""

import logging
import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from promptavideo.download import download
from promptavideo.errors import InputError
from promptavideo.files import atomic_path, sha256, write_text
from promptavideo.hub import UNPINNED, RepoId, Revision, hub_errors, token
from promptavideo.settings import Section
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.staged import File, Record

log = logging.getLogger(__name__)

HUB = "huggingface/hub"
"""Where libraries look for snapshots of the Hub when HF_HOME is `huggingface`."""


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$")]
"""Names become files and wildcards."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Checkpoint(Section):
    """What all checkpoints have in common."""

    dimensions: list[str] = Field(min_length=1)
    """That need it."""
    megabytes: float = Field(gt=0)
    """About its size, for the list of what is missing; nothing twice as large is fetched."""

    @field_validator("dimensions")
    @classmethod
    def _known(cls, dimensions: list[str]) -> list[str]:
        for name in dimensions:
            if name not in DIMENSIONS:
                raise ValueError(f"there is no dimension {name!r}")
        return dimensions


class UrlCheckpoint(_Checkpoint):
    """One file at an address, or a zip archive of several."""

    kind: Literal["url"] = "url"
    url: str = Field(pattern=r"^(https?|file)://\S+$")
    sha256: Digest | Literal["unpinned"]
    """Of the file. `unpinned` takes what the address gives once, and records the digest."""
    files: dict[str, str] = Field(min_length=1)
    """{path below the folder of checkpoints: path in the archive, or "." for the file itself}. A path that ends in `/`
    is a folder with all below it."""
    contents: dict[str, Digest] = Field(default_factory=dict)
    """{path below the folder of checkpoints: SHA-256} of files out of an archive whose own digest is not known."""

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.url

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for path, member in self.files.items():
            parts = PurePosixPath(path)
            if parts.is_absolute() or ".." in parts.parts:
                raise ValueError(f"files: {path} must be a relative path that does not lead upwards")
            if path.endswith("/") != member.endswith("/"):
                raise ValueError(
                    f"files: {path} and {member} must both be folders (with a slash at the end) or neither"
                )
        return self


class HubCheckpoint(_Checkpoint):
    """A snapshot of the Hugging Face Hub, which VBench's code asks for by name."""

    kind: Literal["hub"]
    repo_id: RepoId
    revision: Revision
    allow_patterns: list[str] = Field(min_length=1)

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.repo_id


Checkpoint = Annotated[UrlCheckpoint | HubCheckpoint, Field(discriminator="kind")]


def read_checkpoints(path: Path) -> dict[str, UrlCheckpoint | HubCheckpoint]:
    """Read the list of checkpoints by name.

    Raises:
        InputError: The file is missing or an entry is wrong; names the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = {name: {"kind": "url", **entry} for name, entry in raw.items()}
        return TypeAdapter(dict[Name, Checkpoint]).validate_python(entries)
    except ValidationError as error:
        first = error.errors()[0]
        name, _, *key = first["loc"] if len(first["loc"]) > 1 else (*first["loc"], "")  # the second is the entry's kind
        raise InputError(f"{path}: {'.'.join(map(str, (name, *key[:1])))}: {first['msg']}") from error
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is no list of checkpoints ({error})") from error


def stage(name: str, entry: UrlCheckpoint | HubCheckpoint, cache: Path, output: Path) -> None:
    """Fetch a checkpoint, put its files in place and write their record last.

    Args:
        name: Its name in the list.
        entry: Where it comes from.
        cache: The folder of all checkpoints.
        output: The record (JSON).

    Raises:
        InputError: It cannot be fetched, is another file, or lacks a file that is wanted.
    """
    placed, revision = (
        _stage_url(name, entry, cache) if isinstance(entry, UrlCheckpoint) else _stage_hub(name, entry, cache)
    )
    files = {path: File(bytes=(cache / path).stat().st_size, sha256=sha256(cache / path)) for path in sorted(placed)}
    for path, digest in entry.contents.items() if isinstance(entry, UrlCheckpoint) else ():
        if path not in files or files[path].sha256 != digest:
            found = files[path].sha256 if path in files else "nothing"
            for file in placed:
                (cache / file).unlink(missing_ok=True)
            raise InputError(f"{name}: {path} has {found}, expected {digest}; correct the entry only if you trust it")
    record = Record(
        name=name,
        source=entry.source,
        revision=revision,
        files=files,
    )
    write_text(output, record.model_dump_json(indent=2) + "\n")


def _stage_url(name: str, entry: UrlCheckpoint, cache: Path) -> tuple[list[str], str]:
    """Fetch a file or an archive; returns what was placed, and the digest of what was fetched."""
    fetched = cache / ".downloads" / name
    fetched.parent.mkdir(parents=True, exist_ok=True)
    pinned = None if entry.sha256 == UNPINNED else entry.sha256
    if pinned is None:
        fetched.unlink(missing_ok=True)  # nothing would tell whether a rest fits to an old beginning
    download(entry.url, fetched, pinned, int(entry.megabytes * 2e6), f"VBench's checkpoint {name}")
    digest = sha256(fetched)
    if pinned is None:
        log.warning("%s: takes what is there today; write sha256: %s into the list to pin it", name, digest)
    placed = []
    for target, member in entry.files.items():
        if member == ".":
            with atomic_path(cache / target) as partial:
                _link(fetched, partial)
            placed.append(target)
        else:
            placed += _unpack(name, fetched, member, cache, target)
    fetched.unlink()
    return placed, digest


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _unpack(name: str, archive: Path, member: str, cache: Path, target: str) -> list[str]:
    """Take one file, or one folder, out of an archive."""
    placed = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for inside in opened.namelist():
                if inside.endswith("/") or not (
                    inside == member or (member.endswith("/") and inside.startswith(member))
                ):
                    continue
                path = target + inside.removeprefix(member)
                if ".." in PurePosixPath(path).parts:
                    raise InputError(f"{name}: the archive holds {inside!r}, which leads upwards")
                (cache / path).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(inside) as stream, atomic_path(cache / path) as partial, partial.open("wb") as written:
                    shutil.copyfileobj(stream, written)
                placed.append(path)
    except zipfile.BadZipFile as error:
        raise InputError(f"{name}: what was fetched is no zip archive ({error}); run again") from error
    if not placed:
        raise InputError(f"{name}: the archive holds nothing at {member!r}; correct the entry's files")
    return placed


def _stage_hub(name: str, entry: HubCheckpoint, cache: Path) -> tuple[list[str], str]:
    """Fetch a snapshot in the Hub's own layout; returns what was placed, and the commit."""
    from huggingface_hub import snapshot_download

    with hub_errors(f"VBench's checkpoint {name}", "model", entry.repo_id, entry.revision):
        pinned = entry.revision != UNPINNED
        folder = snapshot_download(
            entry.repo_id,
            revision=entry.revision if pinned else None,
            cache_dir=cache / HUB,
            allow_patterns=entry.allow_patterns,
            token=token(),
        )
    commit = Path(folder).name  # of a tag, too
    # VBench's code names no revision, which libraries read as the branch `main`.
    reference = cache / HUB / f"models--{entry.repo_id.replace('/', '--')}" / "refs/main"
    write_text(reference, commit)
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [os.path.relpath(path, cache) for path in [*files, reference]], commit


def describe(name: str, entry: UrlCheckpoint | HubCheckpoint) -> str:
    """A checkpoint in one line, for the list of what is missing."""
    source = entry.url if isinstance(entry, UrlCheckpoint) else f"the Hub's {entry.repo_id}"
    digest = entry.sha256[:12] if isinstance(entry, UrlCheckpoint) else entry.revision  # the address is long already
    return f"{name}: {entry.megabytes:g} MB from {source} ({digest}), for {', '.join(entry.dimensions)}"
