"""What was ordered from a hosted video model: an append-only file that several jobs share, and the budget over it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Section
from promptavideo.shared_lines import SharedLines, now


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
    note: str = ""
    """The endpoint's id of an accepted order, or why it was refused."""
    time: str = field(default_factory=now)


class Orders(SharedLines[_Line]):
    """The orders of one generator.

    An order is entered before it is placed. So jobs that run at a time cannot both spend what is left, an order whose
    answer nobody saw counts as spent, and one that a killed job had placed is fetched and not paid for again.
    """

    def __init__(self, path: Path, entry: str) -> None:
        """Name the file and the configuration entry, e.g. `generators.sora`, for messages."""
        super().__init__(path, _Line)
        self._entry = entry
        self._spent = {"seconds": 0.0, "money": 0.0}
        self._answers: dict[str, tuple[str, str]] = {}

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
        with self._locked() as append:
            for name, price in (("seconds", seconds), ("money", money)):
                limit, spent = getattr(budget, name), self._spent[name]
                if limit is not None and spent + price > limit + 1e-9:
                    raise InputError(
                        f"{self._entry}.budget.{name}: the budget is used up: {spent:g} of {limit:g} are spent "
                        f"({self.path}), and the next video takes {price:g}. What was filmed is kept. Raise "
                        f"{self._entry}.budget.{name} and run again"
                    )
            append(_Line("asked", key, seconds, money))

    def release(self, key: str, seconds: float, money: float) -> None:
        """Take an order back that surely costs nothing."""
        self._append(_Line("released", key, seconds, money))

    def accept(self, key: str, id_: str) -> None:
        """Enter the id under which the endpoint makes a video."""
        self._append(_Line("accepted", key, 0, 0, id_))

    def drop(self, key: str) -> None:
        """Enter that nothing is to be had any more under a video's id."""
        self._append(_Line("gone", key, 0, 0))

    def refuse(self, key: str, why: str) -> None:
        """Enter that the endpoint will not make a video."""
        self._append(_Line("refused", key, 0, 0, why))

    def state(self, key: str) -> tuple[str, str] | None:
        """("accepted", id) or ("refused", why) if a video need not be ordered; else None."""
        with self._locked():
            return self._answers.get(key)

    def spent(self) -> tuple[float, float]:
        """Seconds of video and money, orders with an unknown end included."""
        with self._locked():
            return self._spent["seconds"], self._spent["money"]

    def _enter(self, line: _Line) -> None:
        match line.event:
            case "asked" | "released":
                sign = 1 if line.event == "asked" else -1
                self._spent["seconds"] += sign * line.seconds
                self._spent["money"] += sign * line.money
            case "gone":
                self._answers.pop(line.key, None)
            case _:
                self._answers[line.key] = (line.event, line.note)
