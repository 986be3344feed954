"""Where a finished run is, and the models that it has on disk or could fetch."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from promptavideo import runfile
from promptavideo.config import check, read
from promptavideo.errors import InputError
from promptavideo.models import ModelEntry, check_model, fetch
from promptavideo.records import read_record
from promptavideo.study import Study

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
"""A checkout's own configuration."""


def around(place: Path) -> Path | None:
    """The folder of the run that a place is in: the nearest one above it that keeps a run's configuration."""
    return _nearest(place, lambda folder: _kept(folder) is not None)


def checkout(place: Path) -> Path | None:
    """The checkout of this repository that a place is in: runs can be started there."""
    return _nearest(place, lambda folder: (folder / CONFIG).is_file() and (folder / "Snakefile").is_file())


def study_in(root: Path) -> Study:
    """The study of the last finished run of a folder, or else of the one that was started last.

    Where no run was started yet, it is that of a checkout's own configuration.

    Raises:
        InputError: The folder has no configuration, or one that cannot be used.
    """
    kept = _kept(root)
    if kept is not None:
        return Study(read(read_record(kept, dict, "configuration of a run")), root)
    if not (root / CONFIG).is_file():
        raise InputError(f"{root}: no run was ever started here; start one (make reproduce)")
    return Study(check(yaml.safe_load((root / CONFIG).read_text(encoding="utf-8")), root), root)


def ensure(name: str, entries: Mapping[str, ModelEntry], folder: Path, root: Path) -> Path:
    """A model on disk, whole: it is fetched, after those that it is made of, where it is not there yet.

    Args:
        name: Of its entry.
        entries: All entries, by name.
        folder: Of all fetched models.
        root: Folder that relative paths of entries start from.

    Returns:
        The model's folder.

    Raises:
        InputError: It cannot be fetched.
    """
    target = folder / name
    if (target / "manifest.json").is_file():
        check_model(target)
        return target
    entry = entries[name]
    others = {one: ensure(one, entries, folder, root) for one in entry.models}
    log.info("fetching %s, a model of kind %s, from %s", name, entry.kind, entry.source)
    fetch(name, entry, target, others, root)
    return target


def cache() -> Path:
    """The folder of models that belong to no run."""
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) / "promptavideo" if given else Path.home() / ".cache/promptavideo"


def _nearest(place: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The nearest folder that fits, of a place and those above it."""
    inside = place.resolve()
    return next(filter(fits, (inside, *inside.parents)), None)


def _kept(root: Path) -> Path | None:
    return next((root / one for one in (runfile.FINISHED, runfile.STARTED) if (root / one).is_file()), None)
