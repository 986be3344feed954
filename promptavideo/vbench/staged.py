"""Records of the checkpoints that are in place; VBench's environment reads them."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from promptavideo.files import discarded
from promptavideo.records import read_record


class File(BaseModel):
    """One staged file."""

    bytes: int
    sha256: str


class Record(BaseModel):
    """What was staged for a checkpoint, and where it came from."""

    name: str
    source: str
    revision: str
    files: dict[str, File]
    """By their paths below the folder of checkpoints."""


def read_staged(path: Path) -> Record:
    """Read a record.

    Raises:
        InputError: It is missing, or is none and is removed.
    """
    return read_record(path, Record, "record of a checkpoint")


def check_staged(records: Sequence[Path], cache: Path) -> None:
    """Check that every file of some checkpoints is where it was put, with its size.

    Raises:
        InputError: One is not; VBench would set out to download it.
    """
    for path in records:
        record = read_staged(path)
        for file, known in record.files.items():
            found = (cache / file).stat().st_size if (cache / file).is_file() else None
            if found != known.bytes:
                state = "missing" if found is None else f"{found} bytes instead of {known.bytes}"
                raise discarded(f"{cache / file}: {state}, though {path} says that it is there", path)
