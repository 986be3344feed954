"""Errors meant for people: what is wrong, where, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class PromptAVideoError(Exception):
    """Base class of every error this project raises on purpose."""


class InputError(PromptAVideoError):
    """Something the user gave (configuration, prompts, a file) cannot be used as it is."""


class UsageError(InputError):
    """A command was given options or arguments that it cannot take."""


class ScoreError(PromptAVideoError):
    """A video or its reward is unusable: it cannot be decoded, or a score is not a finite number."""


class OperatorError(PromptAVideoError):
    """An operator's endpoint gave no answer, though nothing that the user gave is wrong."""


def require(value: T | None, what: str) -> T:
    """`value`, or an InputError that says what is missing."""
    if value is None:
        raise InputError(what)
    return value


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def named(key: str) -> Iterator[None]:
    """Name the key of the configuration that an InputError is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
