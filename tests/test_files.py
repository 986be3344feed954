"""The lock of a run: held by another, freed with its file, and told apart from a file system without locks."""

import errno
import fcntl
from pathlib import Path

import pytest

from promptavideo.errors import InputError
from promptavideo.files import hold


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "folder/run.lock"
    first = hold(path)
    with pytest.raises(InputError, match="another run is at work"):
        hold(path)
    first.close()
    hold(path).close()


def test_a_file_system_without_locks_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match="cannot lock it"):
        hold(tmp_path / "run.lock")
