"""Who sees what: for each place of a study the pairs, in order, with their sides.

All follows from the seed and the number of the place. A place is the same however many there are, so that spares change
nothing for those before them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from promptavideo.seeds import derive

Side = Literal["first", "second"]
"""One of the two videos of an item."""


@dataclass(frozen=True)
class Position:
    """One pair as one rater sees it."""

    item: str
    left: Side
    """The video that is shown on the left."""
    repeats: int | None = None
    """The number of the position that it shows again, with the sides swapped."""


def slots(
    items: Sequence[str], checks: Sequence[str], each: int, repeats: int, count: int, seed: int
) -> list[list[Position]]:
    """The positions of each place of a study.

    In any number of first places the items are judged equally often, up to one, and each item equally often with either
    side on the left, up to one.

    Args:
        items: Names of all pairs that are compared.
        checks: Names of the pairs with a known answer, which every rater sees.
        each: Items of a place; all when there are fewer.
        repeats: How many of these are shown again.
        count: Of places.
        seed: Of the study.
    """
    times: Counter[str] = Counter()
    places = []
    for number, hand in enumerate(_dealt(items, min(each, len(items)), count, seed), 1):
        shown = {item: _side(derive(seed, "side", item) + times[item]) for item in hand}
        shown |= {check: _side(derive(seed, "side", number, check)) for check in checks}
        times.update(hand)
        places.append(_ordered(shown, hand, min(repeats, len(hand)), number, seed))
    return places


def _side(number: int) -> Side:
    return "second" if number % 2 else "first"


def _dealt(items: Sequence[str], each: int, count: int, seed: int) -> list[list[str]]:
    """Deal shuffled packs of all items one after another, nobody the same item twice."""
    hands: list[list[str]] = []
    pack: list[str] = []
    packs = 0
    for _ in range(count):
        hand: list[str] = []
        while len(hand) < each:
            if not pack:
                pack = sorted(items, key=lambda item: derive(seed, "pack", packs, item))
                packs += 1
            hand.append(pack.pop(next(place for place, item in enumerate(pack) if item not in hand)))
        hands.append(hand)
    return hands


def _ordered(shown: dict[str, Side], hand: Sequence[str], repeats: int, number: int, seed: int) -> list[Position]:
    """Items and checks in the order of a place, and some of the first half again in the last third."""
    order = sorted(shown, key=lambda item: derive(seed, "order", number, item))
    early = [item for item in order if item in hand][: max(repeats, len(hand) // 2)]
    again = sorted(early, key=lambda item: derive(seed, "repeat", number, item))[:repeats]
    sequence: list[tuple[str, bool]] = [(item, False) for item in order]
    for item in again:
        lowest = max(len(order) * 2 // 3, sequence.index((item, False)) + 1)
        place = lowest + derive(seed, "place", number, item) % (len(sequence) - lowest + 1)
        sequence.insert(place, (item, True))
    at = {item: place for place, (item, repeated) in enumerate(sequence, 1) if not repeated}
    swapped: dict[Side, Side] = {"first": "second", "second": "first"}
    return [
        Position(item, swapped[shown[item]], at[item]) if repeated else Position(item, shown[item])
        for item, repeated in sequence
    ]
