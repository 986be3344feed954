"""Cutting a prompts table into shards, by prompt. A shard's name says which part it is: `0003-of-0012`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from promptavideo.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


def shard_count(prompts: int, size: int) -> int:
    """How many shards of `size` prompts hold `prompts` prompts."""
    return max(1, -(-prompts // size))


def shard_names(count: int) -> list[str]:
    """The names of `count` shards. Another number of shards gives other names, so that no file holds another part."""
    return [f"{number:04}-of-{count:04}" for number in range(1, count + 1)]


def part(items: Sequence[T], shard: str) -> Sequence[T]:
    """The items of a shard, about as many in each; parts of more shards lie within those of a divisor of their number.

    Raises:
        InputError: The name is none of `shard_names`.
    """
    number, _, count = shard.partition("-of-")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"{shard!r} is no shard; write the third of twelve as 0003-of-0012")
    first, last = ((int(number) - back) * len(items) // int(count) for back in (1, 0))
    return items[first:last]


def shard_rows(table: "pd.DataFrame", shard: str) -> "pd.DataFrame":
    """The rows of one shard of a `schemas.PROMPTS` table: all videos of its prompts, cut in order of their id.

    A late round of evolution may hold fewer prompts than were planned, so a shard may be empty.
    """
    ids = part(sorted(table["prompt_id"].unique()), shard)
    return table[table["prompt_id"].isin(ids)].reset_index(drop=True)
