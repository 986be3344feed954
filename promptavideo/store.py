"""Videos and their rewards, each stored once under a key, and the manifests that name them.

The store is no declared output of the workflow: a killed job keeps what it finished, arms that share a text share the
video, and two jobs that make the same key agree. A manifest is written last and names every video of a shard.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path, sha256
from promptavideo.video import Clip, read_video, write_video


@dataclass(frozen=True)
class Entry:
    """One line of a manifest: which video belongs to which row of the prompts table."""

    prompt_id: str
    candidate: int
    replicate: int
    key: str
    sha256: str
    frames: int
    fps: float


_ENTRY = TypeAdapter(Entry)


class Store:
    """The videos and cached rewards of one generator below `root/{generator}`."""

    def __init__(self, root: Path, generator: str) -> None:
        self.folder = root / generator

    def video(self, key: str) -> Path:
        """Where the video of a key lives."""
        return self.folder / "videos" / key[:2] / f"{key}.mp4"

    def scores(self, key: str) -> Path:
        """Where the cached rewards of a score key live."""
        return self.folder / "scores" / key[:2] / f"{key}.json"

    def holds(self, key: str) -> bool:
        """Whether the key's video is there and decodes to the end; a damaged one is removed."""
        path = self.video(key)
        if not path.exists():
            return False
        try:
            read_video(path)
        except ScoreError:
            path.unlink(missing_ok=True)
            return False
        return True

    def put(self, key: str, clip: Clip, crf: int, pixel_format: str) -> None:
        """Write a key's video and read it back.

        Raises:
            ScoreError: The clip has no frames, or what was written cannot be decoded.
        """
        if not len(clip.frames):
            raise ScoreError(f"{self.video(key)}: the generator gave no frames")
        write_video(clip, self.video(key), crf=crf, pixel_format=pixel_format)
        read_video(self.video(key))

    def read(self, entry: Entry, manifest: Path) -> Clip:
        """Decode the video of a manifest's entry, checking that it is the one that was filmed.

        A damaged video is taken out of the store together with the manifest that vouched for it, so that the next run
        of the workflow films exactly that video again.

        Raises:
            ScoreError: The video is gone, was changed, or cannot be decoded.
        """
        path = self.video(entry.key)
        try:
            if not path.exists():
                raise ScoreError(f"{path}: the video is gone")
            if sha256(path) != entry.sha256:
                raise ScoreError(f"{path}: the video is not the one that was filmed (its sha256 differs)")
            return read_video(path)
        except ScoreError as error:
            path.unlink(missing_ok=True)
            manifest.unlink(missing_ok=True)
            raise ScoreError(
                f"{error}. It belongs to prompt {entry.prompt_id}, candidate {entry.candidate}, replicate "
                f"{entry.replicate} of {manifest}. Both were removed: run the same command again to film it once more."
            ) from error

    def unnamed(self, manifests: Iterable[Path]) -> list[Path]:
        """Videos in the store that none of the manifests names."""
        named = {entry.key for manifest in manifests for entry in read_manifest(manifest)}
        return [path for path in sorted((self.folder / "videos").glob("*/*.mp4")) if path.stem not in named]


def write_manifest(entries: Iterable[Entry], path: Path) -> None:
    """Write a manifest as JSON lines, in the order given."""
    with atomic_path(path) as partial:
        partial.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries), encoding="utf-8")


def read_manifest(path: Path) -> list[Entry]:
    """Read a manifest.

    Raises:
        InputError: The file is missing or a line is not an entry.
    """
    try:
        return [_ENTRY.validate_json(line, strict=True) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no manifest of videos ({error}); delete it and run again") from error
