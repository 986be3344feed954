"""Showing VBench a batch's videos: which there are, that they are whole and alike, and under which names."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from promptavideo.errors import InputError
from promptavideo.files import discarded
from promptavideo.progress import Progress
from promptavideo.prompts import prompt_id
from promptavideo.store import Entry, Store
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.listing import Listing, Video
from promptavideo.vbench.rows import Row, judged_rows

log = logging.getLogger(__name__)

LONG_SECONDS = 5.0
"""From here on VBench-Long is the benchmark."""
NAME_BYTES = 255
"""File systems hold no longer names."""


def list_videos(
    table: pd.DataFrame,
    manifests: Mapping[Path, Sequence[Entry]],
    store: Store,
    settings: VBenchSet,
    rows: Sequence[Row] | None,
    stage: str,
) -> Listing:
    """List a batch's videos under the names that VBench wants, after decoding each once.

    Args:
        table: The batch's `schemas.PROMPTS` table, one candidate a prompt.
        manifests: The entries of the batch's shards, by the manifest's path.
        store: Holds the videos.
        settings: How the set is judged.
        rows: VBench's list, for `standard`.
        stage: What the progress lines call this work.

    Raises:
        InputError: A video of a prompt is missing or one too many, VBench's list does not hold a prompt or a dimension
            has no prompt, or the videos are not alike.
        ScoreError: A video is gone, was changed or cannot be decoded; it is filmed again by the next run.
    """
    entries = {
        (entry.prompt_id, entry.replicate): (path, entry) for path, found in manifests.items() for entry in found
    }
    wanted = list(zip(table["prompt_id"], table["replicate"], strict=True))
    _check_complete(wanted, list(entries), list(manifests))
    empty = _alike([entries[one] for one in wanted], store, settings, stage)
    if empty.frames / empty.fps >= LONG_SECONDS:
        log.warning(
            "the videos are %.1f s long; from %g s on VBench-Long is the benchmark, and its numbers are others",
            empty.frames / empty.fps,
            LONG_SECONDS,
        )
    replicates = sorted(table["replicate"].unique().tolist())
    videos = []
    for row in judged_rows(dict(zip(table["prompt_id"], table["prompt"], strict=True)), settings, rows):
        for replicate in replicates:
            one = prompt_id(row.prompt_en)
            _, entry = entries[one, replicate]
            videos.append(
                Video(
                    row=row.row,
                    prompt_id=one,
                    prompt=row.prompt_en,
                    replicate=replicate,
                    file=_file(row.prompt_en if settings.mode == "standard" else one, replicate),
                    video=str(store.video(entry.key)),
                    key=entry.key,
                    dimensions=tuple(name for name in DIMENSIONS if name in row.dimension),
                    auxiliary_info=row.auxiliary_info,
                )
            )
    return replace(empty, videos=tuple(videos))


def link_videos(listing: Listing, folder: Path) -> None:
    """Make a folder of relative links, named as VBench wants them.

    Raises:
        InputError: The file system takes two of the names for one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, video in sorted({video.file: video.video for video in listing.videos}.items()):
        try:
            (folder / name).symlink_to(os.path.relpath(video, folder))
        except FileExistsError:
            raise InputError(
                f"{folder}: this file system takes {name!r} and another name for one; use another"
            ) from None


def _check_complete(
    wanted: Sequence[tuple[str, int]], filmed: Sequence[tuple[str, int]], manifests: Sequence[Path]
) -> None:
    missing, extra = sorted(set(wanted) - set(filmed)), sorted(set(filmed) - set(wanted))
    for what, names in (("missing", missing), ("too many", extra)):
        if names:
            one, replicate = names[0]
            raise discarded(
                f"{', '.join(map(str, manifests))}: {len(names)} videos are {what}, first that of prompt {one}, "
                f"replicate {replicate}",
                *manifests,
            )


def _alike(found: Sequence[tuple[Path, Entry]], store: Store, settings: VBenchSet, stage: str) -> Listing:
    """Decode each video once and see that they are alike; gives a listing of what they share, without the videos."""
    shapes: dict[Listing, Entry] = {}
    progress = Progress(stage, len(found), "videos")
    for manifest, entry in found:
        clip = store.read(entry, manifest)
        frames, height, width = clip.frames.shape[:3]
        shapes.setdefault(Listing(settings.mode, frames, clip.fps, width, height, ()), entry)
        progress.advance(1)
    if next(iter(shapes)).frames < 2:
        raise InputError("the videos have one frame each; VBench compares frames")
    if len(shapes) > 1:
        (one, first), (other, second), *_ = shapes.items()
        raise InputError(
            f"the videos are not alike, so their scores cannot be averaged: prompt {first.prompt_id} has {_told(one)}, "
            f"prompt {second.prompt_id} has {_told(other)}; film all of them in one way"
        )
    return next(iter(shapes))


def _told(shape: Listing) -> str:
    return f"{shape.frames} frames of {shape.width}x{shape.height} at {shape.fps:g} a second"


def _file(name: str, replicate: int) -> str:
    file = f"{name}-{replicate}.mp4"
    if "/" in file or "\0" in file or len(file.encode()) > NAME_BYTES:
        raise InputError(f"VBench wants a video called {file!r:.80}, which is no file name; judge the set as `custom`")
    return file
