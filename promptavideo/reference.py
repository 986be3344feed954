"""The reference of the configuration, for people and for editors, made from the sections that read it."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import Field, TypeAdapter
from pydantic_core import to_jsonable_python

from promptavideo.files import write_text
from promptavideo.settings import Section

Node = dict[str, Any]
"""A part of a JSON schema."""

MARKDOWN = Path("docs/configuration.md")
SCHEMA = Path("resources/config.schema.json")

TOLD_BY = ("kind", "trainer")
"""The keys that tell entries of one group apart."""

LIKE = {"type": ["string", "null"], "description": "The entry, of this section or a ready one, that this is laid over."}

HEAD = """# Configuration

The keys of `config.yaml` and of the files that are laid over it. `make reference` makes this from the code that reads
them.

`NAME` is any name of yours and `N` a place in a list. A key that is null counts as absent, unless null is one of its
values; so does a named entry. The entries of one group are told apart by `kind`, boosters by `trainer`. An entry of a
section of names may say `like: NAME`: it is then laid over that one of the same section, or over the ready one of
`resources/generators.yaml`.

Editors that know YAML check keys while you write and show what is said here, if a file begins with
`# yaml-language-server: $schema=resources/config.schema.json`. A run alone checks whether keys fit together."""


def write(config: type[Section], root: Path) -> None:
    """Write both references of a configuration, below a repository's root."""
    for path, text in ((MARKDOWN, markdown(config)), (SCHEMA, json.dumps(schema(config), indent=1) + "\n")):
        write_text(root / path, text)


def schema(config: type[Section]) -> Node:
    """The JSON schema of a file of settings: nothing is required, since the file may lie over another."""
    layer = _layer(_section(config))
    for section in layer["properties"].values():
        if isinstance(entries := section.get("additionalProperties"), dict):
            for _, entry in _sections(entries, ""):
                entry["properties"]["like"] = LIKE
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **layer}


def markdown(config: type[Section]) -> str:
    """A table of keys for each part of the configuration: type, default and meaning."""
    whole = _section(config)
    inside = {key: list(_sections(node, key)) for key, node in whole["properties"].items()}
    single = {key: node for key, node in whole["properties"].items() if not inside[key]}
    parts = [HEAD, "## Keys without a section", _table("", whole | {"properties": single})]
    for key in [key for key in inside if key not in single]:
        parts += [f"## {key}", _said(whole["properties"][key])]
        for path, section in inside[key]:
            for told_by in [name for name in TOLD_BY if "const" in section["properties"].get(name, {})]:
                parts += [f"### {path}, {told_by}: {section['properties'][told_by]['const']}", section["description"]]
            parts.append(_table(f"{path}.", section))
    return "\n\n".join(part for part in parts if part) + "\n"


def kinds_of(annotation: Any) -> dict[str, type[Section]] | None:
    """The sections of an entry that are told apart by one of their keys, by its value; None for another annotation."""
    union, *marks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    for told_by in filter(None, (getattr(mark, "discriminator", None) for mark in marks)):
        return {get_args(one.model_fields[told_by].annotation)[0]: one for one in get_args(union) or (union,)}
    return None


def _section(section: type[Section], defaults: Section | None = None) -> Node:
    """The strict schema of a section.

    Args:
        section: The section.
        defaults: What its keys are when absent, where the section that holds it sets them.
    """
    docs = _docstrings(section)
    properties, required = {}, []
    for name, field in section.model_fields.items():
        default = getattr(defaults, name) if defaults else field.get_default(call_default_factory=True)
        marks = Field(discriminator=field.discriminator), *field.metadata
        node = _value(Annotated[(field.annotation, *marks)], default)
        key = field.alias or name
        if field.is_required() and not defaults:
            required.append(key)
        elif "properties" not in node:
            node["default"] = to_jsonable_python(default)
        properties[key] = node | ({"description": docs[name]} if name in docs else {})
    said = inspect.cleandoc(section.__doc__ or "").replace("\n\n", " ").replace("\n", " ")
    return {
        "type": "object",
        "description": said,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _value(annotation: Any, default: Any = None) -> Node:
    """The strict schema of a value; sections are found in unions, lists and mappings of names."""
    if kinds := kinds_of(annotation):
        return {"anyOf": [_section(kind) for kind in kinds.values()]}
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if _is_section(bare):
        return _section(bare, default if isinstance(default, Section) else None)
    parts = get_args(bare)
    if not any(map(_holds_section, parts)):
        return TypeAdapter(annotation).json_schema()
    if get_origin(bare) is dict:
        return {"type": "object", "additionalProperties": _value(parts[1])}
    if get_origin(bare) is list:
        return {"type": "array", "items": _value(parts[0])}
    return {"anyOf": [_value(part, default) for part in parts]}


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _holds_section(annotation: Any) -> bool:
    return _is_section(annotation) or kinds_of(annotation) is not None or any(map(_holds_section, get_args(annotation)))


def _docstrings(section: type[Section]) -> dict[str, str]:
    """What is said of the keys of a section, in the bare text below each.

    pydantic's `use_attribute_docstrings` reads the same, at every import: a fifth of a second.
    """
    found = {}
    for owner in reversed(section.__mro__):
        if not _is_section(owner):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found


def _layer(node: Node) -> Node:
    """What a file that lies over another may say of a strict schema: nothing is required, and any key may be null."""
    node = {key: value for key, value in node.items() if key not in ("required", "minProperties")}
    if "properties" in node:
        node["properties"] = {name: _or_null(_layer(value)) for name, value in node["properties"].items()}
    if isinstance(entries := node.get("additionalProperties"), dict):
        node["additionalProperties"] = _or_null(_layer(entries))
    if "items" in node:
        node["items"] = _layer(node["items"])
    if "anyOf" in node:
        node["anyOf"] = [_layer(part) for part in node["anyOf"]]
    return node


def _or_null(node: Node) -> Node:
    null = {"type": "null"}
    if "anyOf" in node:
        return node if null in node["anyOf"] else node | {"anyOf": [*node["anyOf"], null]}
    if "const" in node or "type" not in node:
        return node
    return node | {"type": [node["type"], "null"]} | ({"enum": [*node["enum"], None]} if "enum" in node else {})


def _sections(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """The sections that a value is made of, each with its dotted path."""
    if "properties" in node:
        yield path, node
    for part in node.get("anyOf", []):
        yield from _sections(part, path)
    if "items" in node:
        yield from _sections(node["items"], f"{path}.N")
    if isinstance(entries := node.get("additionalProperties"), dict):
        yield from _sections(entries, f"{path}.NAME")


def _keys(path: str, section: Node) -> Iterator[tuple[str, Node, bool]]:
    """Every dotted key in a section, with its schema and whether it is required."""
    for name, node in section["properties"].items():
        yield f"{path}{name}", node, name in section["required"]
        for below, inner in _sections(node, f"{path}{name}"):
            yield from _keys(f"{below}.", inner)


def _table(path: str, section: Node) -> str:
    """Its keys, one a row; nothing if it has none but its kind."""
    lines = []
    for key, node, required in _keys(path, section):
        if "const" not in node:
            default = "required" if required else _code(node["default"]) if "default" in node else ""
            cells = f"`{key}`", _words(node), default, _said(node)
            lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *lines] if lines else [])


def _said(node: Node) -> str:
    """What is said of a key, or else of the one section that it is made of."""
    inside = [section["description"] for _, section in _sections(node, "")]
    return node.get("description", inside[0] if len(inside) == 1 else "")


def _code(value: Any) -> str:
    """A value as YAML has it in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return f"`{text.strip().removesuffix('...').strip()}`"


BAR = r"\|"
"""A bar within a cell of a table."""

BOUNDS = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "up to", "exclusiveMaximum": "below"}


def _words(node: Node) -> str:
    """The type and range of a value, in words."""
    *most, last = _choices(node)
    return f"{', '.join(most)} or {last}" if most else last


def _choices(node: Node) -> list[str]:
    if "anyOf" in node:
        words = dict.fromkeys(word for part in node["anyOf"] for word in _choices(part))
        return [word for word in words if word != "whole number" or "number" not in words]
    if "enum" in node or "const" in node:
        return [_code(value) for value in node.get("enum", [node.get("const")])]
    return [_kind(node)]


def _kind(node: Node) -> str:
    match node.get("type"):
        case "object":
            if "properties" in node:
                return "section"
            entries = node["additionalProperties"]
            return f"mapping of names to {_inner({} if entries is True else entries)}"
        case "array":
            return f"list of {_inner(node['items'])}" + (", not empty" if node.get("minItems") else "")
        case "string":
            shape = f" like `{node['pattern']}`" if "pattern" in node else ", not empty" if "minLength" in node else ""
            return f"text{shape}"
        case "integer" | "number" as kind:
            bounds = "".join(f" {word} {node[bound]}" for bound, word in BOUNDS.items() if bound in node)
            return ("whole number" if kind == "integer" else "number") + bounds
        case kind:
            return {"boolean": "true/false", "null": "`null`", None: "any value"}[kind]


def _inner(node: Node) -> str:
    words = _words(node)
    return f"({words})" if " or " in words else re.sub(r"^(section|(whole )?number)\b", r"\1s", words)
