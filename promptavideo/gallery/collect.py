"""What the gallery shows: the videos of the evaluation with texts and scores, as plain data for its page."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from promptavideo.additions import marked
from promptavideo.errors import ScoreError
from promptavideo.gallery.config import GalleryConfig
from promptavideo.metrics import Metric, Objective
from promptavideo.progress import Progress
from promptavideo.store import Entry, Store, read_file
from promptavideo.tables import LAPTOP
from promptavideo.text import clean
from promptavideo.video import Filmed
from promptavideo.viewing import VIEWED, Size, poster, write_copy

METHOD_NOTE = (
    "Each row is a prompt of the evaluation, each column a refiner: what it wrote, filmed with the same seed, and the "
    "scores of that video. Words that the prompt lacks are marked. Beside a score is its difference to the original "
    "prompt's video; avg is the mean of the metrics that the tables average. Rewards are on a 0-5 scale, judges on "
    "which nobody trained in their own. A disagreement is a gain in avg that such a judge does not share, each in "
    "standard deviations over the prompts shown."
)
FIRST_NOTE = (
    "Shown are the videos of the first of up to {count} seeds, and the numbers are theirs; the tables average over all."
)

POSTER = 64
"""Pixels of a poster's longer side, at most."""


@dataclass(frozen=True, eq=False)
class Arm:
    """What one refiner wrote for a set, filmed and judged."""

    refiner: str
    scores: pd.DataFrame
    """A `schemas.scores` table of the rewards, with the metrics that are only reported beside it, raw."""
    filmed: Mapping[str, tuple[Entry, Path]]
    """Each video by its key: its entry in a manifest, and the manifest."""


@dataclass(frozen=True, eq=False)
class Group:
    """The refiners of one track on one set."""

    track: str
    set: str
    medium: Filmed
    store: Store
    objective: Objective
    average: Sequence[str]
    """The metrics whose mean is `avg`."""
    reported: Sequence[Metric]
    """Metrics on which nobody trained, of judges that look at this set."""
    arms: Sequence[Arm]


Json = dict[str, Any]


def collect(groups: Sequence[Group], folder: Path, config: GalleryConfig) -> Json:
    """Copy the videos for viewing, and describe them for the page.

    Shown is each text's first video; its scores are those of this video alone. A copy that is there already is kept, so
    a run that was killed goes on with the next video, and copies that nothing shows any more are removed.

    Args:
        groups: What to show, in order.
        folder: Of the page; the copies go into `videos/` in it.
        config: How large the copies are, and how many prompts are shown.

    Returns:
        What `gallery.js` reads: groups, rows and posters.

    Raises:
        ScoreError: A video is gone or damaged; it and the manifest that vouched for it were removed.
    """
    shown = [_firsts(group, config.prompts) for group in groups]
    wanted: dict[str, tuple[Group, Entry, Path]] = {}
    for group, arms in zip(groups, shown, strict=True):
        for arm, table in zip(group.arms, arms, strict=True):
            for key in table["key"]:
                entry, manifest = arm.filmed[key]
                wanted.setdefault(_copy_name(entry, group.medium, config), (group, entry, manifest))
    posters = _copy_all(wanted, folder / "videos", config)
    return {
        "groups": [_described(group) for group in groups],
        "rows": [
            row
            for place, (group, arms) in enumerate(zip(groups, shown, strict=True))
            for row in _rows(place, group, arms, config)
        ],
        "posters": posters,
    }


def notes(content: Json, scale: str) -> list[str]:
    """What is to be said of the page's numbers.

    Args:
        content: What `collect` returned.
        scale: The configuration's.
    """
    most = max(group["replicates"] for group in content["groups"])
    said = [METHOD_NOTE]
    if most > 1:
        said.append(FIRST_NOTE.format(count=most))
    if scale == "laptop":
        said.append(f"These are {LAPTOP}")
    return said


def _firsts(group: Group, prompts: int | None) -> list[pd.DataFrame]:
    """The scores of each arm's first videos, by prompt id, of the prompts that all arms have."""
    tables = []
    for arm in group.arms:
        first = (arm.scores["replicate"] == 0) & (arm.scores["candidate"] == 0)
        tables.append(arm.scores[first].set_index("prompt_id").sort_index())
    common = sorted(set.intersection(*(set(table.index) for table in tables)))[:prompts]
    return [table.loc[common] for table in tables]


def _copy_name(entry: Entry, medium: Filmed, config: GalleryConfig) -> str:
    """A copy's name, by what decides its bytes: no text of a user's or a model's becomes part of it."""
    decides = json.dumps([entry.sha256, medium, config.least_pixels, config.most_pixels, config.crf])
    return hashlib.sha256(decides.encode()).hexdigest()[:16] + VIEWED[medium]


def _copy_all(wanted: Mapping[str, tuple[Group, Entry, Path]], folder: Path, config: GalleryConfig) -> dict[str, str]:
    """Make the copies that are missing, and give each one's poster by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.name not in wanted:
            file.unlink()
    progress = Progress("gallery", len(wanted), "videos")

    def one(name: str) -> str:
        group, entry, manifest = wanted[name]
        return _poster_of_copy(folder / name, group, entry, manifest, config)

    posters = {}
    with ThreadPoolExecutor(config.threads) as pool:
        for name, made in zip(wanted, pool.map(one, wanted), strict=True):
            posters[name] = made
            progress.advance(1)
    return posters


def _poster_of_copy(path: Path, group: Group, entry: Entry, manifest: Path, config: GalleryConfig) -> str:
    if path.exists():
        try:
            return poster(read_file(path, group.medium), POSTER)
        except ScoreError:  # cut short by something else than this project
            path.unlink()
    clip = group.store.read(entry, manifest)
    write_copy(clip, group.medium, path, Size(config.least_pixels, config.most_pixels), config.crf)
    return poster(read_file(path, group.medium), POSTER)


def _described(group: Group) -> Json:
    return {
        "track": group.track,
        "set": group.set,
        "medium": group.medium,
        "refiners": [arm.refiner for arm in group.arms],
        "metrics": [metric.name for metric in group.objective],
        "average": list(group.average),
        "heldOut": [metric.name for metric in group.reported],
        "replicates": int(max(arm.scores["replicate"].max() for arm in group.arms)) + 1,
    }


def _rows(place: int, group: Group, arms: Sequence[pd.DataFrame], config: GalleryConfig) -> Iterator[Json]:
    for prompt_id in arms[0].index:
        records = [table.loc[prompt_id] for table in arms]
        prompt = clean(records[0]["prompt"])
        cells = [_cell(group, arm, record, prompt, config) for arm, record in zip(group.arms, records, strict=True)]
        yield {"group": place, "id": prompt_id, "prompt": prompt, "cells": cells}


def _cell(group: Group, arm: Arm, record: "pd.Series[Any]", prompt: str, config: GalleryConfig) -> Json:
    entry, _ = arm.filmed[record["key"]]
    parts = marked(record["refined"], prompt)
    negative = record["negative"]
    return {
        "text": [[piece, int(added)] for piece, added in parts],
        "negative": clean(negative) if isinstance(negative, str) else None,
        "scores": _rounded(record[metric.five] for metric in group.objective),
        "avg": _rounded([sum(record[f"{name}_5"] for name in group.average) / len(group.average)])[0],
        "heldOut": _rounded(record[metric.name] for metric in group.reported),
        "file": _copy_name(entry, group.medium, config),
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
