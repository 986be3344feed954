"""The resolved configuration of a run in one file, which scripts read, and what differs from the last finished one."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptavideo.config import read
from promptavideo.errors import InputError
from promptavideo.files import atomic_path, write_text
from promptavideo.records import read_record
from promptavideo.study import Study

VARIABLE = "PROMPTAVIDEO_CONFIG"
"""Environment variable with the path of the run's file."""

FOLDER = Path(".snakemake/promptavideo/configs")
STARTED, FINISHED = FOLDER / "started.json", FOLDER / "finished.json"
"""Copies of the last run's that was started, which scripts read when run by hand, and of the last finished one's."""

SHOWN = 20  # keys that differ


def write(resolved: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write a resolved configuration under a name made of its content, if it is not there yet.

    Args:
        resolved: What `config.resolve` gives, checked.
        folder: Where such files are.
    """
    text = json.dumps(resolved, indent=1, sort_keys=False) + "\n"
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        write_text(path, text)
    return path


def keep(path: Path, kept: Path) -> None:
    """Keep a run's file as the last started or finished one's."""
    with atomic_path(kept) as partial:
        shutil.copyfile(path, partial)


def load(path: Path | None = None) -> Study:
    """The study of a run's file: of the one given, of the run that this is a job of, or of the last started.

    Raises:
        InputError: There is no such file.
    """
    path = path or Path(os.environ.get(VARIABLE) or STARTED)
    if not path.is_file():
        raise InputError(
            f"{path}: there is no run's configuration; start a run first (snakemake), or name one by --config"
        )
    return Study(read(read_record(path, dict[str, Any], "configuration of a run")))


def changes(path: Path, before: Path = FINISHED) -> list[str]:
    """The keys whose values differ between two runs' files, as `key: old -> new`; none if there is no earlier one."""
    if not before.is_file():
        return []
    old, new = (_flat(read_record(one, dict[str, Any], "configuration of a run")) for one in (before, path))
    return [
        f"{key}: {_shown(old, key)} -> {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def announce(path: Path, before: Path = FINISHED) -> str:
    """What differs from the last finished run, for people; empty if nothing does."""
    found = changes(path, before)
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n  ".join(["Other than in the last finished run:", *found[:SHOWN], *more]) if found else ""


def _flat(part: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(part, dict) or not part:
        return {path: part}
    return {
        key: value for name, below in part.items() for key, value in _flat(below, f"{path}.{name}".strip(".")).items()
    }


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return f"{json.dumps(flat[key], ensure_ascii=False):.60}" if key in flat else "(absent)"
