"""The folder of votes: what is in it, and of which plans."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from promptavideo.errors import InputError

FORMAT = "prompt-a-video-votes"
"""What a file says that a rater hands over."""


def files(folder: Path) -> list[str]:
    """The files that raters handed over, and the server's databases, sorted."""
    return sorted(str(path) for kind in ("*.json", "*.sqlite") for path in folder.glob(kind) if path.is_file())


def unmerged(file: str) -> list[int]:
    """The size and time of what a server has written and not yet put into a database itself."""
    try:
        found = Path(f"{file}-wal").stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns] if found.st_size else []


def database(folder: Path, plan: str) -> Path:
    """The server's database of a plan."""
    return folder / f"server-{plan}.sqlite"


def opened(path: Path) -> sqlite3.Connection:
    """A database, only to be read, also while a server writes it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)


def voted(folder: Path) -> dict[str, list[str]]:
    """The plans of which there are votes, each with the files that hold them; files that cannot be read count not."""
    found: dict[str, list[str]] = {}
    for file in files(folder):
        for plan in _plans(Path(file)):
            found.setdefault(plan, []).append(file)
    return found


def check_replaced(folder: Path, plan: str) -> None:
    """Check that a plan replaces none of which there are votes already.

    Raises:
        InputError: It does.
    """
    others = {one: named for one, named in voted(folder).items() if one != plan}
    if others:
        (other, named), *_ = others.items()
        raise InputError(
            f"{folder}: {_listed(named)} hold votes on the plan {other}, and what is configured now is the plan "
            f"{plan}. A study that has begun keeps its plan, or its numbers could be chosen. Go back to the settings "
            "of that plan, or name another folder in user_study.votes to begin another study"
        )


def _plans(path: Path) -> list[str]:
    try:
        if path.suffix == ".json":
            said = json.loads(path.read_text(encoding="utf-8"))
            voted = isinstance(said, dict) and said.get("format") == FORMAT and said.get("votes")
            return [str(said.get("plan"))] if voted else []
        connection = opened(path)
        try:
            query = "SELECT plan FROM study WHERE EXISTS (SELECT 1 FROM votes)"
            return [str(plan) for (plan,) in connection.execute(query)]
        finally:
            connection.close()
    except (OSError, ValueError, sqlite3.Error):
        return []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
