"""The base of every configuration section, and how one file of settings is laid over another."""

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


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
        kept = {}
        for key, value in given.items():
            kinds = _members(cls.model_fields[key].annotation) if key in cls.model_fields else (Any,)
            if value is None and not {Any, type(None)} & set(kinds):
                continue
            named = isinstance(value, dict) and any(get_origin(kind) is dict for kind in kinds)
            kept[key] = {name: entry for name, entry in value.items() if entry is not None} if named else value
        return kept


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types that a union is made of, or the type itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def number_in_text(value: object) -> str | None:
    """How a number that YAML reads as text is to be written: `5e-2` wants a dot, and quotes make text of any number."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value.strip()):
        return None
    mantissa, letter, exponent = value.strip().partition("e" if "e" in value else "E")
    return f"{mantissa}.0{letter}{exponent}" if letter and "." not in mantissa else value.strip()


def _no_number(value: Any) -> Any:
    if written := number_in_text(value):
        raise ValueError(f"YAML reads this as text; write {written}, without quotes")
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
