"""The base of every configuration section, and how one file of settings is laid over another."""

import copy
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from promptavideo.errors import InputError

if TYPE_CHECKING:
    from promptavideo.config import Config


@dataclass(frozen=True)
class Ref:
    """Marks a key that names an entry of another section: `Annotated[str, Ref("models")]`."""

    section: str


@dataclass(frozen=True)
class File:
    """Marks a key that names a file which is read, relative to the repository root."""


@dataclass(frozen=True)
class Planning:
    """Marks a key that decides how work is done and no result: another value reruns nothing."""


@dataclass(frozen=True)
class Added:
    """Marks a key that counts only when it is set, so that it could be added without renaming what was made before."""


@dataclass(frozen=True)
class Marked:
    """A key with a marker, and its value."""

    key: str
    """Dotted, within the section."""
    marker: Ref | File
    value: str


class Section(BaseModel):
    """A part of the configuration. Each module declares the section it reads; `config.py` puts them together.

    A key that is null counts as absent, so that a file laid over another one can take away what that one sets, unless
    null is one of the key's values. So does an entry that is null in a mapping of names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        kept = {}
        for key, value in given.items():
            kinds = _members(fields[key].annotation) if key in fields else (Any,)
            if value is None and not {Any, type(None)} & set(kinds):
                continue
            named = isinstance(value, dict) and any(get_origin(kind) is dict for kind in kinds)
            kept[key] = {name: entry for name, entry in value.items() if entry is not None} if named else value
        return kept

    def decides(self) -> dict[str, Any]:
        """What of the section decides results, as JSON can hold it: all but keys that only plan the work."""
        kept: dict[str, Any] = _deciding(self, self.model_dump(mode="json"))
        return kept

    def marked(self) -> Iterator[Marked]:
        """The names and files that the section's keys give, down to the last of its parts."""
        for name, field in type(self).model_fields.items():
            markers = [one for one in field.metadata if isinstance(one, Ref | File)]
            for key, value in _parts(field.alias or name, getattr(self, name)):
                if isinstance(value, Section):
                    yield from (Marked(f"{key}.{one.key}", one.marker, one.value) for one in value.marked())
                else:
                    yield from (Marked(key, marker, value) for marker in markers)


class Entry(Section):
    """A named entry of the configuration, told apart by its `kind`. A kind is a subclass, registered in `registry`."""

    @property
    def models(self) -> list[str]:
        """Names of the models that must be fetched first, each once."""
        return list(dict.fromkeys(one.value for one in self.marked() if one.marker == Ref("models")))

    @property
    def files(self) -> list[str]:
        """The files that it reads."""
        return list(dict.fromkeys(one.value for one in self.marked() if isinstance(one.marker, File)))

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check what an entry says beyond its own keys, before anything runs.

        Args:
            where: Its dotted name, for messages.
            config: The configuration around it.
            root: The repository root.

        Raises:
            InputError: It cannot work anywhere; the message names the key.
        """

    def ready(self, where: str) -> None:
        """Check that it can work from here, as far as that shows without loading it.

        Raises:
            InputError: Its key or its code is missing.
        """


def _many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _parts(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value of lists and mappings is made of, with the dotted keys; names of a list have that of the list."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _parts(f"{key}.{name}", part)
    elif _many(value):
        for place, part in enumerate(value):
            yield from _parts(f"{key}.{place}" if isinstance(part, Section) else key, part)
    elif value is not None:
        yield key, value


def _deciding(value: Any, dumped: Any) -> Any:
    if isinstance(value, Section):
        return {
            name: _deciding(getattr(value, name), dumped[name])
            for name, field in type(value).model_fields.items()
            if Planning() not in field.metadata
            and not (Added() in field.metadata and getattr(value, name) == field.get_default(call_default_factory=True))
        }
    if isinstance(value, Mapping):
        return {name: _deciding(part, dumped[name]) for name, part in value.items()}
    return [_deciding(part, one) for part, one in zip(value, dumped, strict=True)] if _many(value) else dumped


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types that a union is made of, or the type itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def number_in_text(value: object) -> str | None:
    """What is wrong with a number that YAML reads as text: `5e-2` wants a dot, and quotes make text of any number."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value.strip()):
        return None
    mantissa, letter, exponent = value.strip().partition("e" if "e" in value else "E")
    written = f"{mantissa}.0{letter}{exponent}" if letter and "." not in mantissa else value.strip()
    return f"YAML reads this as text; write {written}, without quotes"


def _no_number(value: Any) -> Any:
    if fault := number_in_text(value):
        raise ValueError(fault)
    return value


Value = Annotated[int | float | bool | str, AfterValidator(_no_number)]
"""A setting of somebody else's, whose type is not known here; a number in quotes is a mistake."""

Layer = Mapping[str, Any]
"""What one file sets, as read from YAML."""


def lay(layers: Mapping[str, Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay settings over one another.

    A mapping is laid over a mapping key by key, unless both are entries of different `kind`: then it replaces the other
    one whole, since one kind's keys mean nothing to another. Anything else replaces what is below it.

    Args:
        layers: What each file sets, by its name; the first lies lowest.

    Returns:
        The settings, and by the dotted path of each key the name of the layer that it comes from.
    """
    settings: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, layer in layers.items():
        _lay(settings, layer, name, "", origins)
    return settings, origins


def _lay(below: dict[str, Any], layer: Layer, name: str, path: str, origins: dict[str, str]) -> None:
    for key, value in layer.items():
        place = f"{path}{key}"
        under = below.get(key)
        if isinstance(value, Mapping):
            if not isinstance(under, dict) or under.get("kind", value.get("kind")) != value.get(
                "kind", under.get("kind")
            ):
                below[key] = {}
                for old in [one for one in origins if one.startswith(f"{place}.")]:
                    del origins[old]
            _lay(below[key], value, name, f"{place}.", origins)
            origins.setdefault(place, name)
        else:
            below[key] = value
        if not isinstance(value, Mapping) or not value:
            origins[place] = name


def origin(key: str, origins: Mapping[str, str]) -> str | None:
    """The layer that a dotted key comes from, or else the one that first names what it is in."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return None


def started_from(settings: Mapping[str, Any], sections: Iterable[str], ready: Layer) -> dict[str, Any]:
    """Settings in which an entry that says `like: NAME` is laid over that one: of its section, or a ready one.

    Args:
        settings: All settings.
        sections: Those of entries that have a name.
        ready: Ready entries by section; what a ready entry names (models) is declared with it.

    Raises:
        InputError: There is no such entry, or entries are like one another.
    """
    whole = copy.deepcopy(dict(settings))
    for section in sections:
        if isinstance(settings.get(section), Mapping):
            for name in settings[section]:
                _start(whole, section, name, ready, ())
    return whole


def _start(whole: dict[str, Any], section: str, name: str, ready: Layer, above: tuple[str, ...]) -> None:
    entry = whole[section].get(name)
    if not isinstance(entry, Mapping) or "like" not in entry:
        return
    like, where = entry["like"], f"{section}.{name}.like"
    if not isinstance(like, str) or like in above or (like == name and like not in ready.get(section, {})):
        raise InputError(f"{where}: {like!r} is no other entry to start from")
    if like != name and whole[section].get(like):
        _start(whole, section, like, ready, (*above, name))
        below = whole[section][like]
    elif like in ready.get(section, {}):
        below = ready[section][like]
        for model in _names_in(below, ready.get("models", {})):
            whole.setdefault("models", {}).setdefault(model, ready["models"][model])
    else:
        known = sorted({*(one for one, given in whole[section].items() if given), *ready.get(section, {})} - {name})
        raise InputError(f"{where}: there is no {like!r}; known are {', '.join(known)}")
    own = {key: value for key, value in entry.items() if key != "like"}
    whole[section][name] = lay({"below": {"entry": below}, "own": {"entry": own}})[0]["entry"]


def _names_in(part: Any, names: Mapping[str, Any]) -> list[str]:
    """The values, at any depth, that are among some names."""
    if isinstance(part, Mapping | list):
        values = part.values() if isinstance(part, Mapping) else part
        return [name for value in values for name in _names_in(value, names)]
    return [part] if isinstance(part, str) and part in names else []
