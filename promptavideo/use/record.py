"""The record that makes a booster's folder whole: all that its use takes and its run's configuration says."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from promptavideo.boosters.config import SamplingSettings, Writes
from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.reading import Reader, read_reader, write_reader
from promptavideo.settings import Section

FILE = "promptavideo.json"
"""In a booster's folder, beside its card, or in an exported model's."""

READERS = "readers"
"""Beside it: what each generator reads that the booster writes for, a file a generator."""


class Record(Section):
    """How a booster is used where its run is not around it."""

    name: str
    """For people: the run's track and the booster."""
    writes: Writes = "text"
    """A text to film, or a negative prompt for one."""
    instruction: str
    """What it was trained to be asked with; the chat template of an exported model holds it already."""
    sampling: SamplingSettings
    """As in its run."""
    seed: int = Field(ge=0)
    """The run's: the same prompt gives the same text as there."""
    base: dict[str, Any] | None = None
    """Entry of `models` for its base model, with `name`; null where the folder holds the whole model."""


def write(record: Record, readers: Mapping[str, Reader], folder: Path) -> None:
    """Write a record, and what bounds the booster's texts, into its folder.

    Args:
        record: What to write.
        readers: By the generator that reads.
        folder: The booster's.
    """
    for name, reader in readers.items():
        write_reader(folder / READERS / f"{name}.json", reader)
    write_text(folder / FILE, json.dumps(record.model_dump(mode="json"), indent=2) + "\n")


def read(folder: Path) -> tuple[Record, Sequence[Reader]]:
    """What `write` wrote; the folder is a user's and never changed.

    Raises:
        InputError: It is no such record.
    """
    path = folder / FILE
    try:
        record = TypeAdapter(Record).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: does not say how a booster is used ({error}); copy the folder again") from error
    found = (read_reader(one) for one in sorted((folder / READERS).glob("*.json")))
    return record, [one for one in found if one]
