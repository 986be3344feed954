"""The prompts that a user gives: on the command line, in a file, or by a pipe."""

from collections.abc import Sequence
from pathlib import Path

from promptavideo.errors import InputError, UsageError
from promptavideo.prompts import find_fault
from promptavideo.user_files import read_text

MAX_WORDS = 200
"""A longer prompt is no short one: the booster would be asked about what it never saw."""


def one(text: str) -> str:
    """A prompt of the command line, checked.

    Raises:
        UsageError: It is empty, too long, or holds control characters.
    """
    prompt = text.strip()
    if said := _fault(prompt):
        raise UsageError(f"the prompt {said}")
    return prompt


def lines(text: str, where: str) -> list[str]:
    """Prompts, one a line, each checked; a text that goes out has the same place as its prompt.

    Args:
        text: What was read.
        where: From where, for messages.

    Raises:
        InputError: A line is empty or no usable prompt; names the line. There is none at all.
    """
    given = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if given == [""]:
        raise InputError(f"{where}: holds no prompt; write one a line")
    prompts = [line.strip() for line in given]
    for number, prompt in enumerate(prompts, 1):
        if said := _fault(prompt):
            raise InputError(f"{where}, line {number}: the prompt {said}")
    return prompts


def of_file(path: Path) -> list[str]:
    """The prompts of a file; see `lines`."""
    return lines(read_text("--file", path), str(path))


def of_bytes(data: bytes) -> Sequence[str]:
    """The prompts that came by a pipe; see `lines`."""
    try:
        return lines(data.decode("utf-8-sig"), "standard input")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"standard input, line {number}: is not UTF-8; convert it") from error


def _fault(prompt: str) -> str:
    fault = find_fault(prompt, MAX_WORDS, "boost")
    if fault is None:
        return ""
    if fault.kind == "empty":
        return "is empty; write what the video shall show"
    if fault.kind == "too long":
        return f"has {len(prompt.split())} words and {len(prompt)} characters, too many: {MAX_WORDS} words at most"
    return f"holds a {fault.message}"
