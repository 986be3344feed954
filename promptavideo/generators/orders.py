"""What was ordered from a hosted model: an append-only file that several jobs share, and the budget over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Section
from promptavideo.shared_lines import SharedLines, now
from promptavideo.video import Filmed

Event = Literal["asked", "released", "accepted", "gone", "refused"]


class VideoBudget(Section):
    """What may be ordered in all, over every stage and restart."""

    seconds: float | None = Field(default=None, gt=0)
    """Seconds of video."""
    money: float | None = Field(default=None, gt=0)
    """In the currency of the price."""


class ImageBudget(Section):
    """What may be ordered in all, over every stage and restart."""

    images: int | None = Field(default=None, gt=0)
    """Number of images."""
    money: float | None = Field(default=None, gt=0)
    """In the currency of the price."""


@dataclass(frozen=True)
class VideoLine:
    """One line: a video is `asked` for; that is `released` if it surely costs nothing, or `accepted` under an id, which
    may later be `gone`. A text that is `refused` is not asked again."""

    event: Event
    key: str
    seconds: float
    money: float
    note: str = ""
    """The endpoint's id of an accepted order, or why it was refused."""
    time: str = field(default_factory=now)


@dataclass(frozen=True)
class ImageLine:
    """One line: the same of an image, which comes with the answer and has no id."""

    event: Event
    key: str
    images: float
    money: float
    note: str = ""
    """Why it was refused."""
    time: str = field(default_factory=now)


LINES: Mapping[Filmed, tuple[type[VideoLine] | type[ImageLine], str]] = {
    "video": (VideoLine, "seconds"),
    "image": (ImageLine, "images"),
}
"""The lines of orders of each medium, and in what they and their budget count."""


class Orders(SharedLines[VideoLine | ImageLine]):
    """The orders of one generator.

    An order is entered before it is placed. So jobs that run at a time cannot both spend what is left, an order whose
    answer nobody saw counts as spent, and one that a killed job had placed is fetched and not paid for again.
    """

    def __init__(self, path: Path, entry: str, medium: Filmed = "video") -> None:
        """Name the file, the configuration entry, e.g. `generators.sora`, for messages, and what is ordered."""
        self._line, self._unit = LINES[medium]
        super().__init__(path, self._line)
        self._entry, self._medium = entry, medium
        self._spent = {self._unit: 0.0, "money": 0.0}
        self._answers: dict[str, tuple[str, str]] = {}

    def ask(self, key: str, amount: float, money: float, budget: VideoBudget | ImageBudget) -> None:
        """Enter an order that is about to be placed.

        Args:
            key: The video's key.
            amount: Seconds of the video, or 1 for an image.
            money: Its price.
            budget: What may be spent.

        Raises:
            InputError: The budget has not enough left; nothing was entered.
        """
        with self._locked() as append:
            for name, price in ((self._unit, amount), ("money", money)):
                limit, spent = getattr(budget, name), self._spent[name]
                if limit is not None and spent + price > limit + 1e-9:
                    raise InputError(
                        f"{self._entry}.budget.{name}: the budget is used up: {spent:g} of {limit:g} are spent "
                        f"({self.path}), and the next {self._medium} takes {price:g}. What was filmed is kept. Raise "
                        f"{self._entry}.budget.{name} and run again"
                    )
            append(self._line("asked", key, amount, money))

    def release(self, key: str, amount: float, money: float) -> None:
        """Take an order back that surely costs nothing."""
        self._append(self._line("released", key, amount, money))

    def accept(self, key: str, id_: str) -> None:
        """Enter the id under which the endpoint makes a video."""
        self._append(self._line("accepted", key, 0, 0, id_))

    def drop(self, key: str) -> None:
        """Enter that nothing is to be had any more under a video's id."""
        self._append(self._line("gone", key, 0, 0))

    def refuse(self, key: str, why: str) -> None:
        """Enter that the endpoint will not make a video, or image."""
        self._append(self._line("refused", key, 0, 0, why))

    def state(self, key: str) -> tuple[str, str] | None:
        """("accepted", id) or ("refused", why) if a video need not be ordered; else None."""
        with self._locked():
            return self._answers.get(key)

    def spent(self) -> tuple[float, float]:
        """Seconds of video, or images, and money, orders with an unknown end included."""
        with self._locked():
            return self._spent[self._unit], self._spent["money"]

    def _enter(self, line: VideoLine | ImageLine) -> None:
        match line.event:
            case "asked" | "released":
                sign = 1 if line.event == "asked" else -1
                self._spent[self._unit] += sign * getattr(line, self._unit)
                self._spent["money"] += sign * line.money
            case "gone":
                self._answers.pop(line.key, None)
            case _:
                self._answers[line.key] = (line.event, line.note)
