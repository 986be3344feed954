"""One dimension of VBench on some videos, by the package's own Python API.

This is the one module that imports vbench, inside the function that runs it. The rest of it needs the standard library
and pydantic, so that the environment of VBench, whose pins are old, holds little of this project's.
"""

import importlib.metadata
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import write_text
from promptavideo.hardware import accelerator
from promptavideo.records import read_record
from promptavideo.vbench.dimensions import DIMENSIONS, weight
from promptavideo.vbench.listing import Listing, Video

SAME = 1e-6
"""By how much VBench's own average may differ from ours of its results."""


@dataclass(frozen=True)
class Judged:
    """VBench's result of one video, 0-1; None where it found nothing to judge."""

    row: int
    prompt_id: str
    replicate: int
    key: str
    value: float | None
    weight: int
    """How much the video counts in the dimension's average."""


@dataclass(frozen=True)
class Result:
    """What one job found."""

    dimension: str
    average: float | None
    """VBench's own, of these videos."""
    judged: tuple[Judged, ...]
    versions: dict[str, str]
    device: str
    seconds: float


def evaluate(dimension: str, listing: Listing, videos: Sequence[Video], cache: Path, device: str) -> Result:
    """Let VBench judge videos.

    Args:
        dimension: One of `DIMENSIONS`.
        listing: What the videos are part of.
        videos: Those to judge, of `listing.of(dimension)`.
        cache: VBench's folder of checkpoints, with all that the dimension needs.
        device: `cuda`, `cpu`, or `auto` for the first that is there.

    Raises:
        InputError: The vbench package cannot be imported here.
        ScoreError: VBench left a video out or gave no number for it.
    """
    if not videos:  # a set may hold fewer prompts of VBench's list than were planned for
        return Result(dimension, None, (), {}, accelerator(), 0.0)
    _prepare(cache)
    try:
        import torch
        import vbench
    except ImportError as error:
        raise InputError(
            f"the vbench package cannot be imported ({error}); run with conda (--sdm conda), or make the environment "
            "that vbench.python names: make .venv-vbench/run"
        ) from error
    chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    began = time.perf_counter()
    with TemporaryDirectory() as temporary:
        output = Path(temporary)
        links = _link(videos, output / "videos")
        judge = vbench.VBench(torch.device(chosen), str(_prompts(dimension, videos, output)), str(output))
        prompts = {video.file: video.prompt for video in videos} if listing.mode == "custom" else []
        try:
            judge.evaluate(
                videos_path=str(links),
                name="run",
                prompt_list=prompts,
                dimension_list=[dimension],
                local=True,  # from `cache` alone
                mode="custom_input" if listing.mode == "custom" else "vbench_standard",
            )
        except NotImplementedError as error:
            if not str(error).startswith("UnImplemented dimension"):  # VBench's words for a failed import
                raise
            raise InputError(
                f"VBench's {dimension} cannot be imported ({error}); its environment lacks something (docs/vbench.md)"
            ) from error
        except ZeroDivisionError:
            if not DIMENSIONS[dimension].partial:
                raise
            average, results = None, []  # it found nothing to judge in any of these videos
        else:
            average, results = json.loads((output / "run_eval_results.json").read_bytes())[dimension]
    judged = _judged(dimension, listing, videos, results)
    check_average(dimension, average, judged)
    return Result(
        dimension=dimension,
        average=average,
        judged=judged,
        versions={name: importlib.metadata.version(name) for name in ("vbench", "torch", "numpy")},
        device=torch.cuda.get_device_name() if chosen == "cuda" else accelerator(),
        seconds=time.perf_counter() - began,
    )


def average_of(judged: Sequence[Judged]) -> float | None:
    """A dimension's average as VBench takes it: over videos or frames; None where no video could be judged."""
    known = [(one.value, one.weight) for one in judged if one.value is not None]
    return math.fsum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None


def check_average(dimension: str, average: float | None, judged: Sequence[Judged]) -> None:
    """Check that VBench averages its results as this project believes, which lets shards be joined.

    Raises:
        ScoreError: It does not.
    """
    ours = average_of(judged)
    same = ours is None if average is None else ours is not None and abs(ours - average) <= SAME
    if not same:
        raise ScoreError(
            f"{dimension}: VBench's average is {average}, but its results of single videos give {ours}; this version "
            "of vbench averages in another way than the pinned one, so its results cannot be joined"
        )


def write_result(result: Result, path: Path) -> None:
    """Write a result as JSON."""
    write_text(path, json.dumps(asdict(result), indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        InputError: The file is missing or no such result.
    """
    return read_record(path, Result, "result of VBench")


def _prepare(cache: Path) -> None:
    """Point VBench and the libraries below it to the staged checkpoints, before they are imported."""
    cache = cache.resolve()
    os.environ["VBENCH_CACHE_DIR"] = str(cache)
    os.environ["TORCH_HOME"] = str(cache / "torch")
    os.environ["HF_HOME"] = str(cache / "huggingface")
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    # VBench loads pickles; this makes torch refuse those that hold more than weights.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


def _link(videos: Sequence[Video], links: Path) -> Path:
    """Make a folder of links to some videos only: VBench takes every file of a folder, and one it was not told of is an
    error or, worse, judged."""
    links.mkdir()
    for video in videos:
        (links / video.file).symlink_to(Path(video.video).resolve())
    return links


def _prompts(dimension: str, videos: Sequence[Video], folder: Path) -> Path:
    """VBench's list of prompts, cut to those of some videos and to one dimension."""
    rows = {video.row: video for video in videos}
    described = [
        {"prompt_en": video.prompt, "dimension": [dimension]}
        | ({"auxiliary_info": video.auxiliary_info} if video.auxiliary_info else {})
        for _, video in sorted(rows.items())
    ]
    path = folder / "prompts.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    return path


def _judged(
    dimension: str, listing: Listing, videos: Sequence[Video], results: Sequence[Mapping[str, Any]]
) -> tuple[Judged, ...]:
    """VBench's results by video, in the order of `videos`."""
    found: dict[str, float] = {}
    for result in results:
        name = Path(result["video_path"]).name
        value = float(result["video_results"]) / DIMENSIONS[dimension].scale
        if not math.isfinite(value):
            raise ScoreError(f"{dimension}: VBench gives {value} for {name!r}; look at that video")
        found[name] = value
    left_out = [video.file for video in videos if video.file not in found]
    if left_out and not DIMENSIONS[dimension].partial:
        raise ScoreError(
            f"{dimension}: VBench left out {len(left_out)} of {len(videos)} videos, first {left_out[0]!r}; it cannot "
            "read them"
        )
    return tuple(
        Judged(
            row=video.row,
            prompt_id=video.prompt_id,
            replicate=video.replicate,
            key=video.key,
            value=found.get(video.file),
            weight=weight(dimension, listing.frames),
        )
        for video in videos
    )
