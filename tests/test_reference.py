"""The reference of the configuration is that of the code, and editors accept what a run accepts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field

from promptavideo import reference
from promptavideo.config import Config
from promptavideo.settings import Section

ROOT = Path(__file__).parents[1]
RELEASED = ["released-boosters.yaml", "released-pairs.yaml", "released.yaml"]
STUDIES = sorted(f"studies/{path.name}" for path in (ROOT / "studies").glob("*.yaml"))
LAYERS = [
    "config.yaml", "paper.yaml", "authors.yaml", *RELEASED, *STUDIES, "resources/generators.yaml",
    "tests/smoke.yaml",
]  # fmt: skip
BLOCKS = {
    f"{path.name}, {place}": block
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for place, block in enumerate(
        re.findall(r"^```yaml\n(# mine\.yaml.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    )
}


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    schema = json.loads((ROOT / reference.SCHEMA).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_reference_is_current(tmp_path: Path) -> None:
    reference.write(Config, tmp_path)
    for path in (reference.MARKDOWN, reference.SCHEMA):
        assert (tmp_path / path).read_text() == (ROOT / path).read_text(), "`make reference` writes it again"


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\S+)` \|.*\| (.*) \|$", reference.markdown(Config), re.MULTILINE)
    assert len(rows) > 200
    assert [key for key, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize("name", LAYERS)
def test_an_editor_accepts_the_files_of_settings_and_finds_the_schema(name: str, editor: Draft202012Validator) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [error.message for error in editor.iter_errors(yaml.safe_load(text))] == []
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found and ((ROOT / name).parent / found[1]).resolve() == ROOT / reference.SCHEMA


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_an_editor_accepts_what_the_documents_say(block: str, editor: Draft202012Validator) -> None:
    assert [error.message for error in editor.iter_errors(yaml.safe_load(block))] == []


@pytest.mark.parametrize(
    "text",
    [
        "sead: 1",
        "seed: -1",
        "evolution: {rounds: 0}",
        "evolution: {rounds: '3'}",
        "booster: {sft: {learning_rate: 5e-2}}",  # which YAML reads as text
        "booster: {sft: {lora: {rank: 8}}}",
        "generators: {mine: {kind: diffusers, command: [film]}}",
        "generators: {mine: {command: [film], pipeline: WanPipeline}}",
        "generators: {mine: {kind: painter}}",
        "generators: {mine: {dtype: float8}}",
        "generators: {mine: {loras: [{path: here}]}}",
        "generators: {mine: {like: [wan-2.1-1.3b]}}",
        "evaluation: {like: mine}",
        "boosters: {mine: {trainer: ppo}}",
        "boosters: {mine: {trainer: sft, start: sft}}",
        "judges: {mine: {role: rewards}}",
        "evolution: {weights: {DD: -1}}",
    ],
)
def test_an_editor_refuses_what_a_run_refuses(text: str, editor: Draft202012Validator) -> None:
    assert not editor.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    ["", "seed: null", "generators: {mine: null}", "generators: null", "evaluation: {sets: {heldout: {vbench: null}}}"],
)
def test_an_editor_accepts_a_file_that_takes_something_away(text: str, editor: Draft202012Validator) -> None:
    assert editor.is_valid(yaml.safe_load(text) or {})


@pytest.mark.parametrize(
    "text",
    [
        "generators: {mine: {like: wan-2.1-1.3b, sampling: {num_frames: 33}}}",
        "judges: {mine: {like: pixels, role: report}}",
        "boosters: {mine: {trainer: dpo, from: sft, data: {draw: sft}, tracks: [a, b], settings: {lora: {r: 8}}}}",
        "boosters: {dpo-1: {from: dpo-2}}",
        "evolution: {weights: {KEEP: 2}, thresholds: {DD: 2.5}}",
    ],
)
def test_an_editor_accepts_entries_that_start_from_others(text: str, editor: Draft202012Validator) -> None:
    assert editor.is_valid(yaml.safe_load(text))


def test_every_default_is_a_value(editor: Draft202012Validator) -> None:
    found = list(defaults(editor.schema))
    assert len(found) > 100
    assert [(node, node["default"]) for node in found if not editor.evolve(schema=node).is_valid(node["default"])] == []


def defaults(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "default" in node and ("type" in node or "anyOf" in node):
            yield node
        for below in node.values():
            yield from defaults(below)
    elif isinstance(node, list):
        for below in node:
            yield from defaults(below)


class Weights(Section):
    """What counts how much."""

    quality: float = Field(1.0, ge=0, lt=5)
    """Of the picture."""


class Cat(Section):
    """Walks."""

    kind: Literal["cat"]
    legs: int = Field(4, ge=3)


class Fish(Section):
    """Swims."""

    kind: Literal["fish"]
    in_water: bool
    """Only
    there."""


class Coach(Section):
    """Teaches."""

    trainer: Literal["coach"]
    start: str = Field(alias="from")
    """His city."""
    parts: dict[str, float] = Field(default={})
    settings: dict[str, Any] = Field(default_factory=dict)


class Base(Section):
    """What both have."""

    names: list[str | int] = Field(min_length=1)
    """One|two."""


class Zoo(Base):
    """All of it."""

    pets: dict[str, Annotated[Cat | Fish, Field(discriminator="kind")]] = Field(default_factory=dict)
    staff: dict[str, Annotated[Coach, Field(discriminator="trainer")]] = Field(default_factory=dict)
    best: Weights = Weights(quality=2.5)
    """For the prize."""
    worst: Weights | None = None
    more: list[Weights] = Field(default_factory=list)
    pattern: str = Field("a", pattern="^a$")
    colour: Literal["red", "blue"] | float = "red"


ZOO = r"""## Keys without a section

| key | type | default | meaning |
|---|---|---|---|
| `names` | list of (text or whole number), not empty | required | One\|two. |
| `pattern` | text like `^a$` | `a` |  |
| `colour` | `red`, `blue` or number | `red` |  |

## pets

### pets.NAME, kind: cat

Walks.

| key | type | default | meaning |
|---|---|---|---|
| `pets.NAME.legs` | whole number from 3 | `4` |  |

### pets.NAME, kind: fish

Swims.

| key | type | default | meaning |
|---|---|---|---|
| `pets.NAME.in_water` | true/false | required | Only there. |

## staff

Teaches.

### staff.NAME, trainer: coach

Teaches.

| key | type | default | meaning |
|---|---|---|---|
| `staff.NAME.from` | text | required | His city. |
| `staff.NAME.parts` | mapping of names to numbers | `{}` |  |
| `staff.NAME.settings` | mapping of names to any value | `{}` |  |

## best

For the prize.

| key | type | default | meaning |
|---|---|---|---|
| `best.quality` | number from 0 below 5 | `2.5` | Of the picture. |

## worst

What counts how much.

| key | type | default | meaning |
|---|---|---|---|
| `worst.quality` | number from 0 below 5 | `1.0` | Of the picture. |

## more

What counts how much.

| key | type | default | meaning |
|---|---|---|---|
| `more.N.quality` | number from 0 below 5 | `1.0` | Of the picture. |
"""


def test_sections_become_tables() -> None:
    text = reference.markdown(Zoo)
    assert text[text.index("## ") :] == ZOO


def test_sections_become_a_schema_of_a_layer() -> None:
    schema = reference.schema(Zoo)
    assert "required" not in json.dumps(schema)
    keys = schema["properties"]
    assert keys["pattern"] == {"type": ["string", "null"], "pattern": "^a$", "default": "a"}
    assert keys["best"]["description"] == "For the prize."
    fish = keys["pets"]["additionalProperties"]["anyOf"][1]["properties"]
    assert fish["kind"] == {"const": "fish", "type": "string"}
    assert fish["in_water"] == {"type": ["boolean", "null"], "description": "Only there."}
    assert fish["like"] == reference.LIKE and "like" not in keys["best"]["properties"]
