"""Files of examples that an llm refiner shows to its operator."""

from pathlib import Path
from typing import Any

import yaml

from promptavideo.errors import InputError
from promptavideo.operators.base import Example
from promptavideo.text import clean

_FIELDS = ("prompt", "refined")


def read_examples(path: Path) -> list[Example]:
    """Read examples from a YAML list of {prompt: ..., refined: ...}.

    Raises:
        InputError: The file cannot be read, is empty, or an entry is not a pair of two texts.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: the examples cannot be read ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: must be a list of examples, each with `prompt:` and `refined:`")
    return [_example(entry, f"{path}, example {number}") for number, entry in enumerate(entries, 1)]


def _example(entry: Any, where: str) -> Example:
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise InputError(f"{where}: must have `prompt:` and `refined:` and nothing else")
    for field in _FIELDS:
        if not isinstance(entry[field], str) or not clean(entry[field]):
            raise InputError(
                f"{where}: `{field}:` must be a text; put it in quotes if it looks like a number or a date"
            )
    return Example(entry["prompt"], entry["refined"])
