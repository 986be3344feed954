"""The lock of a run: held by another, freed with its file, and told apart from a file system without locks."""

import errno
import fcntl
from pathlib import Path

import pytest

from promptavideo.errors import InputError
from promptavideo.files import discarded, hold, unreadable


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "folder/run.lock"
    first = hold(path)
    with pytest.raises(InputError, match="another run is at work"):
        hold(path)
    first.close()
    hold(path).close()


def test_what_a_step_made_is_removed_when_it_is_damaged(tmp_path: Path) -> None:
    damaged, other = tmp_path / "a.json", tmp_path / "b.json"
    for path in (damaged, other):
        path.write_text("{")
    said = str(unreadable(damaged, "record", ValueError("cut short")))
    assert said.startswith(f"{damaged}: is no record (cut short). It was removed: run the same command again")
    assert not damaged.exists() and other.exists()
    assert "They were removed" in str(discarded("both are stale", damaged, other)) and not other.exists()


def test_what_the_system_does_not_give_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    said = str(unreadable(path, "record", PermissionError(errno.EACCES, "Permission denied")))
    assert path.exists() and "removed" not in said and "Permission denied" in said
    assert "there is no record here" in str(unreadable(tmp_path / "none", "record", FileNotFoundError(2, "No such")))


def test_a_file_system_without_locks_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match="cannot lock it"):
        hold(tmp_path / "run.lock")
