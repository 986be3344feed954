"""The videos of one evaluation as VBench is to see them: a folder of links, and a list of what they are."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from promptavideo.files import discarded, sha256, write_text
from promptavideo.records import read_record
from promptavideo.shards import part

Mode = Literal["standard", "custom"]
"""`standard`: prompts of VBench's list, with what it says of them; `custom`: any others."""


@dataclass(frozen=True)
class Video:
    """One video under one prompt of the benchmark; a prompt that stands there twice has two, of one video."""

    row: int
    """The prompt's place in VBench's list, or among other prompts."""
    prompt_id: str
    prompt: str
    """The original prompt, as VBench's list spells it."""
    replicate: int
    file: str
    """The link's name."""
    video: str
    """What it leads to: a path relative to the working directory."""
    key: str
    """The video's name in the store."""
    dimensions: tuple[str, ...]
    """All that it can be judged for, so that one more in the configuration changes no list."""
    auxiliary_info: dict[str, Any] | None


@dataclass(frozen=True)
class Listing:
    """Every video of one evaluation, and what all of them have in common."""

    mode: Mode
    frames: int
    fps: float
    width: int
    height: int
    videos: tuple[Video, ...]

    def of(self, dimension: str) -> list[Video]:
        """The videos that a dimension judges, prompt after prompt."""
        return [video for video in self.videos if dimension in video.dimensions]


def write_listing(listing: Listing, path: Path) -> None:
    """Write a listing as JSON."""
    write_text(path, json.dumps(asdict(listing), indent=1, ensure_ascii=False) + "\n")


def read_listing(path: Path) -> Listing:
    """Read a listing.

    Raises:
        InputError: The file is missing or no such listing.
    """
    return read_record(path, Listing, "list of videos for VBench")


def check_videos(path: Path, videos: Sequence[Video]) -> None:
    """Check that each video is the one that was filmed, since VBench names no file that it cannot read.

    Args:
        path: The list, in its folder below the batch's.
        videos: Those to be judged.

    Raises:
        InputError: One is gone or was changed; it is removed with the list and the manifest that names it, so
            that the next run films it again.
    """
    manifests = sorted((path.parents[1] / "videos").glob("*.jsonl"))
    named = {
        entry["key"]: (entry["sha256"], manifest)
        for manifest in manifests
        for entry in map(json.loads, manifest.read_text(encoding="utf-8").splitlines())
    }
    for one in videos:
        digest, manifest = named.get(one.key, (None, path))
        file = Path(one.video)
        if not file.is_file() or sha256(file) != digest:
            state = "is not the one that was filmed" if file.is_file() else "is gone"
            raise discarded(
                f"{file}: the video of prompt {one.prompt_id}, replicate {one.replicate} {state}, other than "
                f"{manifest} says",
                *dict.fromkeys((file, manifest, path)),
            )


def shard(videos: Sequence[Video], name: str) -> list[Video]:
    """A part of a dimension's videos, by its name (see `shards`); a prompt's videos stay together."""
    chosen = set(part(sorted({video.row for video in videos}), name))
    return [video for video in videos if video.row in chosen]
