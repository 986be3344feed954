"""Score the videos of a shard with every reward, decoding each video once."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path
from promptavideo.progress import Progress
from promptavideo.rewards.base import Reward
from promptavideo.schemas import DIMENSIONS, TO_FIVE
from promptavideo.store import Entry, Store, read_manifest
from promptavideo.video import Clip

log = logging.getLogger(__name__)

KEY = ["prompt_id", "candidate", "replicate"]

_VALUES = TypeAdapter(dict[str, float])


def score_shard(
    rows: pd.DataFrame, manifest: Path, rewards: Mapping[str, Reward], store: Store, stage: str
) -> pd.DataFrame:
    """Raw rewards of every video a manifest names.

    Args:
        rows: The same rows of a `schemas.PROMPTS` table that were filmed; rewards see their ORIGINAL prompt.
        manifest: The shard's manifest.
        rewards: Reward models by their identity; each result is cached in the store under it.
        store: Holds the videos and the cached rewards.
        stage: What the progress lines call this work.

    Returns:
        A `schemas.REWARDS` table.

    Raises:
        InputError: The manifest is of another table.
        ScoreError: A video is damaged, or a score is not finite even when scored twice.
    """
    entries = read_manifest(manifest)
    if [(e.prompt_id, e.candidate, e.replicate) for e in entries] != list(rows[KEY].itertuples(index=False, name=None)):
        raise InputError(f"{manifest}: does not name the rows of its prompts table; delete it and run again")
    progress = Progress(stage, len(entries), "videos")
    scored = []
    for entry, prompt in zip(entries, rows["prompt"], strict=True):
        scored.append(_score(entry, prompt, manifest, rewards, store))
        progress.advance(1)
    table = rows[KEY].reset_index(drop=True)
    table["key"] = pd.Series([entry.key for entry in entries], dtype="str")  # typed even if there are none
    return table.join(pd.DataFrame(scored, columns=list(DIMENSIONS), dtype=float))


def _score(entry: Entry, prompt: str, manifest: Path, rewards: Mapping[str, Reward], store: Store) -> dict[str, float]:
    values: dict[str, float] = {}
    clip: Clip | None = None
    for identity, reward in rewards.items():
        key = hashlib.sha256(f"{entry.sha256}\n{identity}\n{prompt}".encode()).hexdigest()[:32]
        cached = store.scores(key)
        fresh = _read(cached)
        if fresh is None:
            clip = clip or store.read(entry, manifest)
            fresh = _finite(reward, clip, prompt, store.video(entry.key))
            with atomic_path(cached) as partial:
                partial.write_text(json.dumps(fresh))
        values |= fresh
    return values


def _read(cached: Path) -> dict[str, float] | None:
    """Cached rewards; None if there are none, or if the file was damaged."""
    try:
        return _VALUES.validate_json(cached.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("%s: is no cached reward; scoring again", cached)
        return None


def _finite(reward: Reward, clip: Clip, prompt: str, path: Path) -> dict[str, float]:
    """Score one clip, once more if a score is not finite."""
    for _ in range(2):
        values = reward.score([clip], [prompt])[0]
        wrong = [name for name in reward.dimensions if not math.isfinite(values.get(name, math.nan))]
        if not wrong:
            return {name: float(values[name]) for name in reward.dimensions}
        log.warning("%s: %s of %s is not finite", path, ", ".join(wrong), type(reward).__name__)
    raise ScoreError(
        f"{path}: {', '.join(wrong)} is not a finite number, scored twice by {type(reward).__name__}; "
        "look at the video, delete it if it is broken, and run again"
    )


def gather(prompts: pd.DataFrame, shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join a prompts table with its shards' rewards into a `schemas.SCORES` table, in the prompts table's order.

    Raises:
        InputError: A row of the prompts table has no rewards.
    """
    rewards = pd.concat(shards, ignore_index=True)
    table = prompts.merge(rewards, on=KEY, how="left", validate="one_to_one")
    lost = table.loc[table["key"].isna(), KEY]
    if len(lost):
        raise InputError(f"no rewards for {lost.iloc[0].to_dict()} and {len(lost) - 1} more rows: score them first")
    for dimension in DIMENSIONS:
        table[f"{dimension}_5"] = table[dimension] * TO_FIVE[dimension]
    return table
