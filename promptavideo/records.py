"""Small JSON files that one step writes for another, read back as what they were."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from promptavideo.files import unreadable

T = TypeVar("T")


def read_record(path: Path, kind: type[T], what: str) -> T:
    """Read a record.

    Args:
        path: A JSON file.
        kind: What it holds: a dataclass or a pydantic model.
        what: What it should be, for messages, such as `list of videos`.

    Raises:
        InputError: The file is missing, or holds something else and is removed.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(path, what, error) from error
