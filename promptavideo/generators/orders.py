"""What was ordered from a hosted video model: an append-only file that several jobs share, and the budget over it."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, TypeAdapter

from promptavideo.errors import InputError
from promptavideo.settings import Section

log = logging.getLogger(__name__)


class VideoBudget(Section):
    """What may be ordered in all, over every stage and restart."""

    seconds: float | None = Field(default=None, gt=0)
    """Seconds of video."""
    money: float | None = Field(default=None, gt=0)
    """In the currency of the price."""


@dataclass(frozen=True)
class _Line:
    """One line: a video is `asked` for; that is `released` if it surely costs nothing, or `accepted` under an id, which
    may later be `gone`. A text that is `refused` is not asked again."""

    event: Literal["asked", "released", "accepted", "gone", "refused"]
    key: str
    seconds: float
    money: float
    note: str
    """The endpoint's id of an accepted order, or why it was refused."""
    time: str


_LINE = TypeAdapter(_Line)


class Orders:
    """The orders of one generator.

    An order is entered before it is placed. So jobs that run at a time cannot both spend what is left, an order whose
    answer nobody saw counts as spent, and one that a killed job had placed is fetched and not paid for again.
    """

    def __init__(self, path: Path, entry: str) -> None:
        """Name the file and the configuration entry, e.g. `generators.sora`, for messages."""
        self.path, self._entry = path, entry

    def ask(self, key: str, seconds: float, money: float, budget: VideoBudget) -> None:
        """Enter an order that is about to be placed.

        Args:
            key: The video's key.
            seconds: Length of the video.
            money: Its price.
            budget: What may be spent.

        Raises:
            InputError: The budget has not enough left; nothing was entered.
        """
        with self._locked() as stream:
            lines = _read(stream, self.path)
            for name, price in (("seconds", seconds), ("money", money)):
                limit, spent = getattr(budget, name), _spent(lines, name)
                if limit is not None and spent + price > limit + 1e-9:
                    raise InputError(
                        f"{self._entry}.budget.{name}: the budget is used up: {spent:g} of {limit:g} are spent "
                        f"({self.path}), and the next video takes {price:g}. What was filmed is kept. Raise "
                        f"{self._entry}.budget.{name} and run again"
                    )
            _append(stream, _Line("asked", key, seconds, money, "", _now()))

    def release(self, key: str, seconds: float, money: float) -> None:
        """Take an order back that surely costs nothing."""
        self._enter(_Line("released", key, seconds, money, "", _now()))

    def accept(self, key: str, id_: str) -> None:
        """Enter the id under which the endpoint makes a video."""
        self._enter(_Line("accepted", key, 0, 0, id_, _now()))

    def drop(self, key: str) -> None:
        """Enter that nothing is to be had any more under a video's id."""
        self._enter(_Line("gone", key, 0, 0, "", _now()))

    def refuse(self, key: str, why: str) -> None:
        """Enter that the endpoint will not make a video."""
        self._enter(_Line("refused", key, 0, 0, why, _now()))

    def state(self, key: str) -> tuple[str, str] | None:
        """("accepted", id) or ("refused", why) if a video need not be ordered; else None."""
        with self._locked() as stream:
            lines = [line for line in _read(stream, self.path) if line.key == key]
        told = [line for line in lines if line.event in ("accepted", "gone", "refused")]
        return (told[-1].event, told[-1].note) if told and told[-1].event != "gone" else None

    def spent(self) -> tuple[float, float]:
        """Seconds of video and money, orders with an unknown end included."""
        with self._locked() as stream:
            lines = _read(stream, self.path)
        return _spent(lines, "seconds"), _spent(lines, "money")

    def _enter(self, line: _Line) -> None:
        with self._locked() as stream:
            _append(stream, line)

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream


def _append(stream: IO[bytes], line: _Line) -> None:
    stream.seek(0)
    text = stream.read()
    cut = b"\n" if text and not text.endswith(b"\n") else b""  # a job died while it wrote
    stream.write(cut + _LINE.dump_json(line) + b"\n")
    stream.flush()


def _read(stream: IO[bytes], path: Path) -> list[_Line]:
    stream.seek(0)
    lines = []
    for text in stream.read().splitlines():
        try:
            lines.append(_LINE.validate_json(text))
        except ValueError:
            log.warning("%s: a line is damaged and counts for nothing: %.80r", path, text)
    return lines


def _spent(lines: list[_Line], what: str) -> float:
    signs = {"asked": 1, "released": -1}
    return sum(signs.get(line.event, 0) * float(getattr(line, what)) for line in lines)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
