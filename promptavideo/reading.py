"""How much of a text a generator reads, in a record by which jobs without its model can count."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptavideo.errors import InputError
from promptavideo.files import discarded, write_text

log = logging.getLogger(__name__)

Fits = Callable[[str], bool]
"""Whether a text is short enough."""


def anything(text: str) -> bool:
    """Where there is no bound."""
    return True


WORDS_A_TOKEN = 0.7
"""Of English prompts, for telling people and language models."""


@dataclass(frozen=True)
class Reader:
    """A tokenizer, and the most tokens that a text may have, with those that the tokenizer adds."""

    limit: int
    tokenizer: Any
    """A `tokenizers.Tokenizer` that neither cuts nor pads."""

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text).ids)

    def fits(self, text: str) -> bool:
        """Whether a text has no more tokens than `limit`."""
        return self.count(text) <= self.limit


def within(readers: Iterable[Reader]) -> Fits:
    """Whether a text fits every reader."""
    kept = list(readers)
    return lambda text: all(reader.fits(text) for reader in kept)


def advice(readers: Iterable[Reader]) -> str:
    """What an operator is told of the bound, as a rule of an instruction; "" without one."""
    limits = [reader.limit for reader in readers]
    if not limits:
        return ""
    words = int(WORDS_A_TOKEN * min(limits))
    return f"- Stay below {words} words each: the generator reads {min(limits)} tokens of a prompt and no more."


def write_reader(path: Path, reader: Reader | None) -> None:
    """Record a reader, or that there is none."""
    record = {"limit": reader.limit, "tokenizer": json.loads(reader.tokenizer.to_str())} if reader else {"limit": None}
    write_text(path, json.dumps(record, ensure_ascii=False) + "\n")


def read_reader(path: Path) -> Reader | None:
    """What `write_reader` recorded.

    Raises:
        InputError: It is missing or something else, and then it is removed, so that the next run makes it anew.
    """
    from tokenizers import Tokenizer

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["limit"] is None:
            return None
        return reader_of(Tokenizer.from_str(json.dumps(record["tokenizer"])), int(record["limit"]))
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist; make it: snakemake {path}") from error
    except Exception as error:  # tokenizers raises bare exceptions
        raise discarded(f"{path}: is no record of what a generator reads ({error})", path) from error


def read_readers(paths: Iterable[str]) -> list[Reader]:
    """The readers of some records, without those that say that there is none."""
    return [reader for path in paths if (reader := read_reader(Path(path)))]


def reader_of(tokenizer: Any, limit: int) -> Reader:
    """A reader by a copy of a `tokenizers.Tokenizer` that neither cuts nor pads."""
    from tokenizers import Tokenizer

    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    return Reader(limit, whole)
