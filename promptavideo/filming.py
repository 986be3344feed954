"""Film a shard of a prompts table."""

import logging
from pathlib import Path

import pandas as pd

from promptavideo.errors import ScoreError
from promptavideo.files import sha256
from promptavideo.generators.base import Generator
from promptavideo.progress import Progress
from promptavideo.store import Entry, Store, write_manifest
from promptavideo.video import read_video

log = logging.getLogger(__name__)


def film_shard(rows: pd.DataFrame, generator: Generator, store: Store, manifest: Path, stage: str) -> None:
    """Film every video of `rows` that the store does not hold, then write the manifest.

    Args:
        rows: Rows of a `schemas.PROMPTS` table.
        generator: Films the refined texts.
        store: Keeps each video under its key as soon as it is filmed.
        manifest: Written last; names every video of the shard.
        stage: What the progress lines call this work.

    Raises:
        ScoreError: A video could not be read back even when filmed twice.
    """
    keys = [generator.key(text, seed) for text, seed in zip(rows["refined"], rows["seed"], strict=True)]
    work = dict(zip(keys, zip(rows["refined"], rows["seed"], strict=True), strict=True))
    missing = [key for key in work if not store.holds(key)]
    progress = Progress(stage, len(work), "videos", done=len(work) - len(missing))
    for start in range(0, len(missing), generator.batch_size):
        batch = missing[start : start + generator.batch_size]
        _film(batch, work, generator, store, attempts=2)
        progress.advance(len(batch))
    entries = []
    for row, key in zip(rows.to_dict("records"), keys, strict=True):
        clip = read_video(store.video(key))
        entries.append(
            Entry(
                prompt_id=row["prompt_id"],
                candidate=row["candidate"],
                replicate=row["replicate"],
                key=key,
                sha256=sha256(store.video(key)),
                frames=len(clip.frames),
                fps=clip.fps,
            )
        )
    write_manifest(entries, manifest)


def _film(keys: list[str], work: dict[str, tuple[str, int]], generator: Generator, store: Store, attempts: int) -> None:
    """Film one batch; what cannot be read back is filmed again, `attempts` times in all."""
    clips = generator.film([work[key][0] for key in keys], [work[key][1] for key in keys])
    failed = []
    for key, clip in zip(keys, clips, strict=True):
        try:
            store.put(key, clip, crf=generator.crf, pixel_format=generator.pixel_format)
        except ScoreError as error:
            if attempts == 1:
                raise ScoreError(f"{error}. It was filmed twice; text: {work[key][0]!r}") from error
            log.warning("%s; filming it again", error)
            failed.append(key)
    if failed:
        _film(failed, work, generator, store, attempts - 1)
