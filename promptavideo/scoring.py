"""Score the videos of a shard with every reward: each video is decoded once, and scored in each reward's batches."""

import hashlib
import json
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path, discarded
from promptavideo.judges.base import Judge
from promptavideo.metrics import Metric
from promptavideo.progress import Progress
from promptavideo.store import Entry, Store, read_manifest
from promptavideo.timing import Timing
from promptavideo.video import Clip

log = logging.getLogger(__name__)

KEY = ["prompt_id", "candidate", "replicate"]

Values = dict[str, float]

_VALUES = TypeAdapter(Values)


@dataclass(frozen=True)
class _Job:
    """One video to be scored by one reward; the result goes to `cached`."""

    entry: Entry
    manifest: Path
    prompt: str
    identity: str
    cached: Path
    video: Path


_Ready = tuple[_Job, Any]
"""A job, and what its reward made ready of the clip."""


def score_shard(
    rows: pd.DataFrame,
    manifests: Sequence[Path],
    judges: Mapping[str, Judge],
    metrics: Sequence[Metric],
    store: Store,
    stage: str,
    timing: Timing | None = None,
) -> pd.DataFrame:
    """Raw metrics of every video that some manifests name.

    >>> import numpy, pathlib, tempfile
    >>> from promptavideo.filming import film_shard
    >>> from promptavideo.generators.base import Generator
    >>> from promptavideo.judges.base import Judge
    >>> from promptavideo.metrics import Metric
    >>> from promptavideo.scoring import score_shard
    >>> from promptavideo.shots import prompts_table
    >>> from promptavideo.store import Store
    >>> from promptavideo.video import Clip
    >>> class Noise(Generator):
    ...     batch_size = 1
    ...     def identity(self):
    ...         return {"noise": 1}
    ...     def film(self, shots):
    ...         for shot in shots:
    ...             yield Clip(numpy.random.default_rng(shot.seed).integers(0, 256, (8, 32, 32, 3), "uint8"), fps=8)
    >>> class Brightness(Judge):
    ...     metrics = ("LIGHT",)
    ...     def score(self, clips, prompts):
    ...         return [{"LIGHT": round(float(clip.frames.mean()) / 255, 1)} for clip in clips]
    >>> rows = prompts_table({"some-id": "a cat"}, {"some-id": ["a cat", "a red cat"]}, run_seed=1)
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> store, manifest = Store(folder / "store", "noise"), folder / "videos.jsonl"
    >>> film_shard(rows, Noise(), store, manifest, "example")
    >>> table = score_shard(rows, [manifest], {"some-judge": Brightness()}, [Metric("LIGHT", 0, 1)], store, "example")
    >>> table[["prompt_id", "candidate", "LIGHT"]].to_dict("list")
    {'prompt_id': ['some-id', 'some-id'], 'candidate': [0, 1], 'LIGHT': [0.5, 0.5]}

    Args:
        rows: The same rows of a `schemas.PROMPTS` table that were filmed; judges see their ORIGINAL prompt.
        manifests: Their manifests, in the order of the rows.
        judges: Judges by their identity; each result is cached in the store under it.
        metrics: What the judges fill, in the order of the table's columns.
        store: Holds the videos and the cached scores.
        stage: What the progress lines call this work.
        timing: Gets the number of videos that were scored and the time it took.

    Returns:
        A table of `schemas.rewards(metrics)`.

    Raises:
        InputError: The manifests are of another table, and are removed.
        ScoreError: A video is gone or damaged, and is removed with its manifest; or a score is not finite even when
            scored twice.
    """
    filmed = [(entry, manifest) for manifest in manifests for entry in read_manifest(manifest)]
    named = [(entry.prompt_id, entry.candidate, entry.replicate) for entry, _ in filmed]
    if named != list(rows[KEY].itertuples(index=False, name=None)):
        listed = ", ".join(map(str, manifests))
        raise discarded(f"{listed}: does not name the rows of its prompts table", *manifests)
    for entry, manifest in filmed:
        store.check(entry, manifest)  # what is scored already is read no more, but others show it
    jobs = [
        [_job(entry, manifest, prompt, identity, store) for identity in judges]
        for (entry, manifest), prompt in zip(filmed, rows["prompt"], strict=True)
    ]
    unique = {job.cached: job for video in jobs for job in video}
    found = {cached: values for cached, job in unique.items() if (values := _read(job)) is not None}
    progress = Progress(stage, len(unique), "scores", done=len(found))
    missing = [job for job in unique.values() if job.cached not in found]
    for identity in {job.identity: None for job in missing}:
        judges[identity]  # loads it now, so that the time is that of scoring
    with (timing or Timing()).measure(len({job.entry.key for job in missing})):
        found |= _score(missing, judges, store, progress)
    scored = [{name: value for job in video for name, value in found[job.cached].items()} for video in jobs]
    table = rows[KEY].reset_index(drop=True)
    table["key"] = pd.Series([entry.key for entry, _ in filmed], dtype="str")  # typed even if there are none
    return table.join(pd.DataFrame(scored, columns=[metric.name for metric in metrics], dtype=float))


def _job(entry: Entry, manifest: Path, prompt: str, identity: str, store: Store) -> _Job:
    key = hashlib.sha256(f"{entry.sha256}\n{identity}\n{prompt}".encode()).hexdigest()[:32]
    return _Job(entry, manifest, prompt, identity, store.scores(key), store.video(entry.key))


def _score(jobs: Sequence[_Job], judges: Mapping[str, Judge], store: Store, progress: Progress) -> dict[Path, Values]:
    """Do all jobs: a thread decodes each video once and makes it ready, then it waits until its batch is full.

    After an error nothing more is taken up, but what waits is still scored.
    """
    by_video: dict[str, list[_Job]] = {}
    for job in jobs:
        by_video.setdefault(job.entry.key, []).append(job)
    needed = {job.identity: judges[job.identity] for job in jobs}
    waiting: dict[str, list[_Ready]] = {identity: [] for identity in needed}
    found: dict[Path, Values] = {}
    errors: list[ScoreError] = []

    def score(identity: str) -> None:
        batch, waiting[identity] = waiting[identity], []
        found.update(_score_batch(needed[identity], batch, errors, progress))

    try:
        for video in _made_ready(list(by_video.values()), needed, store):
            for job, ready in video:
                if isinstance(ready, ScoreError):
                    errors.append(ready)
                    continue
                waiting[job.identity].append((job, ready))
                if len(waiting[job.identity]) >= needed[job.identity].batch_size:
                    score(job.identity)
            if errors:
                break
    except ScoreError as error:
        errors.append(error)
    for identity in needed:
        score(identity)
    if errors:
        raise errors[0]
    return found


def _made_ready(
    videos: Sequence[list[_Job]], judges: Mapping[str, Judge], store: Store
) -> Iterator[list[tuple[_Job, Any]]]:
    """The jobs of each video, in order, with what their judges need of the clip, or with the error that they gave.

    A thread works ahead of the networks by as many videos as the largest batch holds.
    """

    def make_ready(video: list[_Job]) -> list[tuple[_Job, Any]]:
        clip = store.read(video[0].entry, video[0].manifest)
        return [(job, _prepared(judges[job.identity], clip, job)) for job in video]

    lead = max((judge.batch_size for judge in judges.values()), default=1)
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        ahead = deque(pool.submit(make_ready, video) for video in videos[:lead])
        for place in range(len(videos)):
            ready = ahead.popleft().result()
            if place + lead < len(videos):
                ahead.append(pool.submit(make_ready, videos[place + lead]))
            yield ready
    finally:
        pool.shutdown(cancel_futures=True)


def _prepared(reward: Judge, clip: Clip, job: _Job) -> Any:
    """What a reward needs of a clip, or its error, with the video's name."""
    try:
        return reward.prepare(clip, job.prompt)
    except ScoreError as error:
        return ScoreError(f"{job.video}: {error}")


def _score_batch(
    reward: Judge, batch: Sequence[_Ready], errors: list[ScoreError], progress: Progress
) -> dict[Path, Values]:
    """Score a batch and cache each result at once; clips that cannot be scored go to `errors`."""
    if not batch:
        return {}
    try:
        given = reward.score_prepared([ready for _, ready in batch])
    except ScoreError as error:
        if len(batch) > 1:  # one of them cannot be scored: which, and the others are kept
            return {
                path: values for one in batch for path, values in _score_batch(reward, [one], errors, progress).items()
            }
        errors.append(ScoreError(f"{batch[0][0].video}: {error}"))
        return {}
    found: dict[Path, Values] = {}
    for (job, ready), values in zip(batch, given, strict=True):
        try:
            found[job.cached] = _finite(reward, values, ready, job)
        except ScoreError as error:
            errors.append(error)
            continue
        with atomic_path(job.cached, durable=False) as partial:  # `_read` takes a damaged one for none
            partial.write_text(json.dumps(found[job.cached]))
    progress.advance(len(found))
    return found


def _finite(reward: Judge, values: Values, ready: Any, job: _Job) -> Values:
    """The scores of one clip, which is scored once more if one is not finite."""
    for attempt in (1, 2):
        wrong = [name for name in reward.metrics if not math.isfinite(values.get(name, math.nan))]
        if not wrong:
            return {name: float(values[name]) for name in reward.metrics}
        log.warning("%s: %s of %s is not finite", job.video, ", ".join(wrong), type(reward).__name__)
        if attempt == 1:
            values = reward.score_prepared([ready])[0]
    raise ScoreError(
        f"{job.video}: {', '.join(wrong)} is not a finite number, scored twice by {type(reward).__name__}; "
        "look at the video, delete it if it is broken, and run again"
    )


def _read(job: _Job) -> Values | None:
    """Cached scores of a video; None if there are none, or if the file was damaged."""
    try:
        values = _VALUES.validate_json(job.cached.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        values = {}
    if values and all(map(math.isfinite, values.values())):
        return values
    log.warning("%s: holds no scores of prompt %s; scoring %s again", job.cached, job.entry.prompt_id, job.video)
    return None


def gather(prompts: pd.DataFrame, shards: Sequence[pd.DataFrame], metrics: Sequence[Metric]) -> pd.DataFrame:
    """Join a prompts table with its shards' metrics into one of `schemas.scores`, in the prompts table's order.

    Raises:
        InputError: A row of the prompts table has no scores.
    """
    rewards = pd.concat(shards, ignore_index=True)
    table = prompts.merge(rewards, on=KEY, how="left", validate="one_to_one")
    lost = table.loc[table["key"].isna(), KEY]
    if len(lost):
        raise InputError(f"no scores for {lost.iloc[0].to_dict()} and {len(lost) - 1} more rows: score them first")
    for metric in metrics:
        table[metric.five] = table[metric.name] * metric.to_five
    return table
