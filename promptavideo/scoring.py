"""Score the videos of a shard with every reward: each video is decoded once, and scored in each reward's batches."""

import hashlib
import json
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path
from promptavideo.progress import Progress
from promptavideo.rewards.base import Reward
from promptavideo.schemas import DIMENSIONS, TO_FIVE
from promptavideo.store import Entry, Store, read_manifest
from promptavideo.timing import Timing
from promptavideo.video import Clip

log = logging.getLogger(__name__)

KEY = ["prompt_id", "candidate", "replicate"]

AHEAD = 2
"""Videos that are decoded ahead of those being scored: few, since whole clips are large."""

Values = dict[str, float]

_VALUES = TypeAdapter(Values)


@dataclass(frozen=True)
class _Job:
    """One video to be scored by one reward; the result goes to `cached`."""

    entry: Entry
    prompt: str
    identity: str
    cached: Path
    video: Path


_Waiting = tuple[_Job, Clip]
"""A job, and the frames that its reward looks at."""


def score_shard(
    rows: pd.DataFrame,
    manifest: Path,
    rewards: Mapping[str, Reward],
    store: Store,
    stage: str,
    timing: Timing | None = None,
) -> pd.DataFrame:
    """Raw rewards of every video a manifest names.

    Args:
        rows: The same rows of a `schemas.PROMPTS` table that were filmed; rewards see their ORIGINAL prompt.
        manifest: The shard's manifest.
        rewards: Reward models by their identity; each result is cached in the store under it.
        store: Holds the videos and the cached rewards.
        stage: What the progress lines call this work.
        timing: Gets the number of videos that were scored and the time it took.

    Returns:
        A `schemas.REWARDS` table.

    Raises:
        InputError: The manifest is of another table.
        ScoreError: A video is damaged, or a score is not finite even when scored twice.
    """
    entries = read_manifest(manifest)
    if [(e.prompt_id, e.candidate, e.replicate) for e in entries] != list(rows[KEY].itertuples(index=False, name=None)):
        raise InputError(f"{manifest}: does not name the rows of its prompts table; delete it and run again")
    jobs = [
        [_job(entry, prompt, identity, store) for identity in rewards]
        for entry, prompt in zip(entries, rows["prompt"], strict=True)
    ]
    unique = {job.cached: job for video in jobs for job in video}
    found = {cached: values for cached in unique if (values := _read(cached)) is not None}
    progress = Progress(stage, len(unique), "scores", done=len(found))
    missing = [job for job in unique.values() if job.cached not in found]
    for identity in {job.identity: None for job in missing}:
        rewards[identity]  # loads it now, so that the time is that of scoring
    with (timing or Timing()).measure(len({job.entry.key for job in missing})):
        found |= _score(missing, manifest, rewards, store, progress)
    scored = [{name: value for job in video for name, value in found[job.cached].items()} for video in jobs]
    table = rows[KEY].reset_index(drop=True)
    table["key"] = pd.Series([entry.key for entry in entries], dtype="str")  # typed even if there are none
    return table.join(pd.DataFrame(scored, columns=list(DIMENSIONS), dtype=float))


def _job(entry: Entry, prompt: str, identity: str, store: Store) -> _Job:
    key = hashlib.sha256(f"{entry.sha256}\n{identity}\n{prompt}".encode()).hexdigest()[:32]
    return _Job(entry, prompt, identity, store.scores(key), store.video(entry.key))


def _score(
    jobs: Sequence[_Job], manifest: Path, rewards: Mapping[str, Reward], store: Store, progress: Progress
) -> dict[Path, Values]:
    """Do all jobs, decoding each video once; what each reward looks at waits until its batch is full.

    After an error nothing more is decoded, but what has been decoded is still scored.
    """
    by_video: dict[str, list[_Job]] = {}
    for job in jobs:
        by_video.setdefault(job.entry.key, []).append(job)
    waiting: dict[str, list[_Waiting]] = {}
    found: dict[Path, Values] = {}
    errors: list[ScoreError] = []
    try:
        for video, clip in _decoded(list(by_video.values()), manifest, store):
            for job in video:
                reward, batch = rewards[job.identity], waiting.setdefault(job.identity, [])
                batch.append((job, reward.sample(clip)))
                if len(batch) >= reward.batch_size:
                    waiting[job.identity] = []
                    found |= _score_batch(reward, batch, progress)
    except ScoreError as error:
        errors.append(error)
    for identity, batch in waiting.items():
        if batch:
            try:
                found |= _score_batch(rewards[identity], batch, progress)
            except ScoreError as error:
                errors.append(error)
    if errors:
        raise errors[0]
    return found


def _decoded(videos: Sequence[list[_Job]], manifest: Path, store: Store) -> Iterator[tuple[list[_Job], Clip]]:
    """Each video's jobs with its clip, in order. A thread decodes the next ones while networks compute."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        ahead = deque(pool.submit(store.read, video[0].entry, manifest) for video in videos[:AHEAD])
        for place, video in enumerate(videos):
            clip = ahead.popleft().result()
            if place + AHEAD < len(videos):
                ahead.append(pool.submit(store.read, videos[place + AHEAD][0].entry, manifest))
            yield video, clip
    finally:
        pool.shutdown(cancel_futures=True)


def _score_batch(reward: Reward, batch: Sequence[_Waiting], progress: Progress) -> dict[Path, Values]:
    """Score a batch and cache each result at once; a clip that cannot be scored is an error after the others."""
    try:
        given = reward.score([clip for _, clip in batch], [job.prompt for job, _ in batch])
    except ScoreError as error:
        if len(batch) == 1:
            raise ScoreError(f"{batch[0][0].video}: {error}") from error
        return _each(lambda waiting: _score_batch(reward, [waiting], progress), batch)
    fresh = dict(zip((job.cached for job, _ in batch), given, strict=True))

    def keep(waiting: _Waiting) -> dict[Path, Values]:
        job, clip = waiting
        values = _finite(reward, fresh[job.cached], clip, job)
        with atomic_path(job.cached, durable=False) as partial:  # `_read` takes a damaged one for none
            partial.write_text(json.dumps(values))
        progress.advance(1)
        return {job.cached: values}

    return _each(keep, batch)


def _each(work: Callable[[_Waiting], dict[Path, Values]], batch: Sequence[_Waiting]) -> dict[Path, Values]:
    """Do `work` for every clip of a batch, then raise the first error if there were any."""
    found: dict[Path, Values] = {}
    errors: list[ScoreError] = []
    for waiting in batch:
        try:
            found |= work(waiting)
        except ScoreError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return found


def _finite(reward: Reward, values: Values, clip: Clip, job: _Job) -> Values:
    """The scores of one clip, which is scored once more if one is not finite."""
    for attempt in (1, 2):
        wrong = [name for name in reward.dimensions if not math.isfinite(values.get(name, math.nan))]
        if not wrong:
            return {name: float(values[name]) for name in reward.dimensions}
        log.warning("%s: %s of %s is not finite", job.video, ", ".join(wrong), type(reward).__name__)
        if attempt == 1:
            values = reward.score([clip], [job.prompt])[0]
    raise ScoreError(
        f"{job.video}: {', '.join(wrong)} is not a finite number, scored twice by {type(reward).__name__}; "
        "look at the video, delete it if it is broken, and run again"
    )


def _read(cached: Path) -> Values | None:
    """Cached rewards; None if there are none, or if the file was damaged."""
    try:
        return _VALUES.validate_json(cached.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("%s: is no cached reward; scoring again", cached)
        return None


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
