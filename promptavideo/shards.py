"""Cutting a prompts table into shards, by prompt."""

import pandas as pd


def shard_count(prompts: int, size: int) -> int:
    """How many shards of `size` prompts hold `prompts` prompts."""
    return max(1, -(-prompts // size))


def shard_rows(table: pd.DataFrame, shard: int, size: int) -> pd.DataFrame:
    """The rows of one shard of a `schemas.PROMPTS` table: all videos of its `size` prompts.

    Prompts are counted in sorted order of their ids. A late round of evolution may hold fewer prompts than were
    planned, so the last shards may be empty.
    """
    ids = sorted(table["prompt_id"].unique())[shard * size : (shard + 1) * size]
    return table[table["prompt_id"].isin(ids)].reset_index(drop=True)
