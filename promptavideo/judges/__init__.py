"""Judges: what fills metrics, one small module a kind (see `registry`)."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.judges.base import Judge, JudgeEntry, TextJudge
from promptavideo.models import check_model
from promptavideo.settings import File, Ref

__all__ = ["Judge", "JudgeEntry", "Judges", "TextJudge", "load_judges"]


class Judges(Mapping[str, Any]):
    """Judges by identity, each loaded when it is first asked for: a job that finds all its scores loads none."""

    def __init__(self, loaders: Mapping[str, Callable[[], Judge | TextJudge]]) -> None:
        self._loaders, self._loaded = dict(loaders), dict[str, Judge | TextJudge]()

    def __getitem__(self, identity: str) -> Any:
        if identity not in self._loaded:
            self._loaded[identity] = self._loaders[identity]()
        return self._loaded[identity]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def circumstances(self) -> dict[str, dict[str, Any]]:
        """What the judges that were loaded have to record of this job, by the name of their entry."""
        found = {identity.split(" ", 1)[0]: judge.circumstances() for identity, judge in self._loaded.items()}
        return {name: said for name, said in found.items() if said}


def load_judges(entries: Mapping[str, JudgeEntry], models: Path = Path()) -> Judges:
    """Some judges of the configuration.

    Args:
        entries: Their entries, by name.
        models: The folder of all fetched models.

    Returns:
        The judges by identity: name, version, and every setting that moves a score, with the digests of models and
        files in place of their names. Cached scores are kept under it.

    Raises:
        InputError: A model was not fetched, or a file is missing. When one is loaded: a model does not fit, or a
            required GPU is missing.
    """
    loaders: dict[str, Callable[[], Judge | TextJudge]] = {}
    for name, given in entries.items():
        entry = given.settled(name)
        folders = {one.key: models / one.value for one in entry.marked() if one.marker == Ref("models")}
        loaders[_identity(name, entry, folders)] = partial(entry.load, folders)
    return Judges(loaders)


def _identity(name: str, entry: JudgeEntry, folders: Mapping[str, Path]) -> str:
    settings = entry.decides() | {key: check_model(folder).digest for key, folder in folders.items()}
    for one in entry.marked():
        if isinstance(one.marker, File):
            try:
                settings[one.key] = sha256(Path(one.value))
            except OSError as error:
                raise InputError(f"judges.{name}.{one.key}: {one.value} cannot be read ({error})") from error
    return f"{name} {entry.VERSION} {json.dumps(settings, separators=(',', ':'))}"
