"""Kinds of entries that other packages add."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from promptavideo import registry
from promptavideo.boosters.trainers import TrainerEntry
from promptavideo.errors import InputError
from promptavideo.generators.base import GeneratorEntry
from promptavideo.judges.base import JudgeEntry
from promptavideo.judges.pixels_config import PixelsConfig
from promptavideo.metrics import Metric
from promptavideo.models import ModelEntry
from promptavideo.operators.base import OperatorEntry
from promptavideo.refiners.base import RefinerEntry
from promptavideo.settings import Entry

Add = Callable[[str, str, str], None]


class SharpnessConfig(JudgeEntry):
    """A judge of another package."""

    METRICS: ClassVar[tuple[Metric, ...]] = (Metric("SHARP", 0.0, 1.0, 5.0),)

    kind: Literal["sharpness"]
    radius: int = 3


class Stranger:
    """No entry at all."""


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Installs an entry point of a group: its name and the place of its class."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in points if point.group == group])
    registry.kinds.cache_clear()
    yield lambda group, name, value: points.append(EntryPoint(name, value, f"promptavideo.{group}"))
    registry.kinds.cache_clear()


@pytest.mark.parametrize(
    ("group", "base"),
    [
        ("models", ModelEntry),
        ("generators", GeneratorEntry),
        ("judges", JudgeEntry),
        ("operators", OperatorEntry),
        ("refiners", RefinerEntry),
        ("trainers", TrainerEntry),
    ],
)
def test_this_projects_kinds_are_entries_of_their_group_under_their_name(group: str, base: type[Entry]) -> None:
    for kind, entry in registry.kinds(group).items():
        assert issubclass(entry, base) and entry.__doc__
        assert get_args(entry.model_fields[registry.told_by(group)].annotation) == (kind,)


def test_a_kind_of_another_package_is_one_of_the_group(add: Add) -> None:
    add("judges", "sharpness", f"{__name__}:SharpnessConfig")
    assert registry.kinds("judges")["sharpness"] is SharpnessConfig
    assert "sharpness" not in registry.kinds("generators")
    judges = TypeAdapter(registry.union("judges"))
    entry = judges.validate_python({"kind": "sharpness", "radius": 5})
    assert isinstance(entry, SharpnessConfig) and entry.decides() == {"kind": "sharpness", "radius": 5}
    assert isinstance(judges.validate_python({"kind": "pixels"}), PixelsConfig)
    with pytest.raises(ValidationError, match="'sharpness'"):
        judges.validate_python({"kind": "blur"})


def test_a_name_that_there_is_already_is_refused(add: Add) -> None:
    add("judges", "pixels", f"{__name__}:SharpnessConfig")
    with pytest.raises(InputError, match=r"judges: there is a kind 'pixels' already, so .*:SharpnessConfig of another"):
        registry.kinds("judges")


def test_a_name_that_two_packages_give_is_refused(add: Add) -> None:
    for _ in range(2):
        add("judges", "sharpness", f"{__name__}:SharpnessConfig")
    with pytest.raises(InputError, match="judges: there is a kind 'sharpness' already"):
        registry.kinds("judges")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("nowhere.to.be.found:Config", "No module named 'nowhere'"),
        (f"{__name__}:BlurConfig", "BlurConfig"),
        (f"{__name__}:Stranger", "Stranger"),
        ("promptavideo.refiners.original:OriginalConfig", 'its `kind` must be Literal["sharpness"]'),
        ("promptavideo.boosters.trainers:SftConfig", "'kind'"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_its_package(add: Add, value: str, told: str) -> None:
    add("judges", "sharpness", value)
    with pytest.raises(InputError) as caught:
        registry.kinds("judges")
    assert str(caught.value).startswith(f"judges: the kind 'sharpness' ({value} of another package) cannot be loaded: ")
    assert told in str(caught.value)
