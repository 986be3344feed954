"""Videos or images and their rewards, each stored once under a key, and the manifests that name them.

The store is no declared output of the workflow: a killed job keeps what it finished, arms that share a text share the
video, and two jobs that make the same key agree. A manifest is written last and names every video of a shard.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path, sha256, unreadable, write_text
from promptavideo.hardware import computed_on
from promptavideo.picture import read_image, write_image
from promptavideo.video import Clip, Filmed, Nothing, nothing, read_video, write_video

SUFFIX: Mapping[Filmed, str] = {"video": ".mp4", "image": ".png"}
"""Of the file of each medium."""

UNKNOWN = "unknown"
"""The device of a video whose filming was not recorded."""


@dataclass(frozen=True)
class VideoFile:
    """A video that a generator hands over as a file, and what it is expected to be; None expects nothing."""

    path: Path
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None

    def check(self, clip: Clip) -> None:
        """Compare the decoded file with what is expected.

        Raises:
            InputError: It is something else.
        """
        frames, height, width = clip.frames.shape[:3]
        found = {"width": width, "height": height, "frames": frames, "fps": clip.fps}
        wrong = [
            f"{name} {value:g}, not {expected:g}"
            for name, value in found.items()
            if (expected := getattr(self, name)) is not None and abs(value - expected) > 0.01
        ]
        if wrong:
            raise InputError(
                f"{self.path}: is not the video that the generator's entry expects ({'; '.join(wrong)}); correct the "
                "entry, or the settings of what made the file"
            )


class BlackError(ScoreError):
    """A video is wholly black, which filming it again would not change."""


@dataclass(frozen=True)
class Stored:
    """A video in the store."""

    sha256: str
    """Of its file."""
    frames: int
    fps: float
    """Frames a second."""
    device: str
    """What filmed it (`hardware.computed_on`)."""
    nothing: Nothing | None
    """What it is if nothing can be seen to happen."""
    made_with: str = ""
    """Names the record of what filmed it (`Store.made_with`)."""


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
    device: str = UNKNOWN
    nothing: Nothing | None = None
    made_with: str = ""
    cut_at: int | None = None
    """Tokens of its text that the generator reads, if it has more."""
    negative_cut_at: int | None = None
    """The same of its negative prompt."""
    tokens: int | None = None
    """Of its text, where it is known how many the generator reads."""


_ENTRY = TypeAdapter(Entry)


class Store:
    """The videos, or images, and cached scores of one generator below `root/{generator}`.

    An image is a video of one frame to whoever reads it, and a PNG file in place of an MP4.

    >>> import numpy, pathlib, tempfile
    >>> from promptavideo.store import Store
    >>> from promptavideo.video import Clip
    >>> store = Store(pathlib.Path(tempfile.mkdtemp()), "some-generator")
    >>> noise = numpy.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    >>> stored = store.put("0123abcd", Clip(noise, fps=8), crf=12, pixel_format="yuv420p")
    >>> store.find("0123abcd") == stored, stored.frames, stored.fps
    (True, 8, 8.0)
    >>> store.video("0123abcd").relative_to(store.folder).as_posix()
    'videos/01/0123abcd.mp4'
    """

    def __init__(self, root: Path, generator: str, medium: Filmed = "video") -> None:
        self.folder, self.medium = root / generator, medium

    @property
    def work(self) -> Path:
        """Where its generator may keep files of its own."""
        return self.folder / "work"

    def video(self, key: str) -> Path:
        """Where the video of a key lives."""
        return self.folder / f"{self.medium}s" / key[:2] / f"{key}{SUFFIX[self.medium]}"

    def circumstances(self, key: str) -> Path:
        """Where it is recorded what the video of a key shows and how it was filmed."""
        return self.video(key).with_suffix(".json")

    def scores(self, key: str) -> Path:
        """Where the cached scores of a score key live."""
        return self.folder / "scores" / key[:2] / f"{key}.json"

    def keep(self, record: Mapping[str, Any]) -> str:
        """Keep a record that many videos share, and give its name."""
        text = json.dumps(record, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = self._record(name)
        if not path.exists():
            write_text(path, text + "\n")
        return name

    def made_with(self, entry: Entry) -> dict[str, Any]:
        """What filmed a video: hardware, interpreter, libraries; its device alone where no record of more is left."""
        try:
            found: dict[str, Any] = json.loads(self._record(entry.made_with).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"device": entry.device}
        return found

    def _record(self, name: str) -> Path:
        return self.folder / "made_with" / f"{name}.json"

    def find(self, key: str) -> Stored | None:
        """The key's video, if it is there, decodes to the end and is not black; another one is removed."""
        path = self.video(key)
        if not path.exists():
            return None
        try:
            clip = _read(path, self.medium)
        except ScoreError:
            self.remove(path)
            return None
        return self._stored(key, clip)

    def put(
        self,
        key: str,
        made: Clip | VideoFile,
        crf: int,
        pixel_format: str,
        circumstances: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Store a key's video; it is read back before it appears.

        H.264 in an MP4 file is taken as it is, anything else is encoded, images without loss. If another job has stored
        a video under this key meanwhile, that one is kept, since a manifest may name its bytes.

        Args:
            key: Its name.
            made: What the generator gave.
            crf: x264 quality of what is encoded.
            pixel_format: Of what is encoded.
            circumstances: What it shows and what filmed it (`device`, ...); recorded beside the video.

        Raises:
            BlackError: The video is wholly black.
            InputError: The file is not what was expected.
            ScoreError: There are no frames, or what was written cannot be decoded.
        """
        path = self.video(key)
        partial = path.with_name(f".{key}.{secrets.token_hex(4)}{path.suffix}")
        try:
            if self.medium == "image":
                _write_image(made, partial)
            else:
                _write_video(made, partial, crf, pixel_format)
            clip = _read(partial, self.medium)
            if isinstance(made, VideoFile):
                made.check(clip)
            theirs = self._publish(partial, key, circumstances or {})
            return theirs or self._stored(key, clip)
        except ScoreError as error:
            raise type(error)(str(error).replace(str(partial), str(path))) from error
        finally:
            partial.unlink(missing_ok=True)

    def _publish(self, partial: Path, key: str, circumstances: Mapping[str, Any]) -> Stored | None:
        """Give a whole video its name, or return the sound one that has it already."""
        path = self.video(key)
        try:
            os.link(partial, path)
        except FileExistsError:
            if theirs := self.find(key):
                return theirs
            partial.replace(path)
        except OSError:  # a file system without hard links
            partial.replace(path)
        try:
            write_text(self.circumstances(key), json.dumps(dict(circumstances)) + "\n")
        except OSError:  # a full disk: nothing would ever tell what filmed this video
            self.remove(path)
            raise
        return None

    def _stored(self, key: str, clip: Clip) -> Stored:
        device, made_with = UNKNOWN, ""
        try:
            said = json.loads(self.circumstances(key).read_text(encoding="utf-8"))
            device, made_with = computed_on(str(said["device"]), said), str(said.get("made_with", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return Stored(sha256(self.video(key)), len(clip.frames), clip.fps, device, nothing(clip), made_with)

    def read(self, entry: Entry, manifest: Path) -> Clip:
        """Decode the video of a manifest's entry, checking that it is the one that was filmed.

        A damaged video is taken out of the store together with the manifest that vouched for it, so that the next run
        of the workflow films exactly that video again.

        Raises:
            ScoreError: The video is gone, was changed, or cannot be decoded.
        """
        path = self.video(entry.key)
        with self._vouched(entry, manifest):
            if sha256(path) != entry.sha256:
                raise ScoreError(f"{path}: the video is not the one that was filmed (its sha256 differs)")
            return _read(path, self.medium)

    def check(self, entry: Entry, manifest: Path) -> None:
        """Check that the video of a manifest's entry is there at all, and else do what `read` does."""
        with self._vouched(entry, manifest):
            pass

    @staticmethod
    def of_manifests(manifests: Iterable[Path]) -> dict[str, tuple[Entry, Path]]:
        """Each video that some manifests name, by its key: its entry there and the manifest."""
        return {entry.key: (entry, path) for path in manifests for entry in read_manifest(path)}

    @contextmanager
    def _vouched(self, entry: Entry, manifest: Path) -> Iterator[None]:
        """Work on a video; if it turns out damaged, remove it with the manifest and name both in the error."""
        path = self.video(entry.key)
        try:
            if not path.exists():
                raise ScoreError(f"{path}: the video is gone")
            yield
        except ScoreError as error:
            self.remove(path)
            manifest.unlink(missing_ok=True)
            raise ScoreError(
                f"{error}. It belongs to prompt {entry.prompt_id}, candidate {entry.candidate}, replicate "
                f"{entry.replicate} of {manifest}. Both were removed: run the same command again to film it once more."
            ) from error

    @staticmethod
    def remove(video: Path) -> None:
        """Delete a video and what is recorded about it."""
        video.unlink(missing_ok=True)
        video.with_suffix(".json").unlink(missing_ok=True)

    def unnamed(self, manifests: Iterable[Path]) -> list[Path]:
        """Videos in the store that none of the manifests names."""
        named = self.of_manifests(manifests)
        files = sorted((self.folder / f"{self.medium}s").glob(f"*/*{SUFFIX[self.medium]}"))
        return [path for path in files if path.stem not in named]


def _write_video(made: Clip | VideoFile, path: Path, crf: int, pixel_format: str) -> None:
    """Write what a generator gave as H.264."""
    if isinstance(made, VideoFile) and _is_h264(made.path):
        with atomic_path(path) as copy:
            shutil.copyfile(made.path, copy)
        return
    clip = made if isinstance(made, Clip) else read_video(made.path)
    if not len(clip.frames):
        raise ScoreError(f"{path}: the generator gave no frames")
    write_video(clip, path, crf=crf, pixel_format=pixel_format)


def _write_image(made: Clip | VideoFile, path: Path) -> None:
    """Write what a generator gave as PNG."""
    write_image(made if isinstance(made, Clip) else read_image(made.path), path)


def _read(path: Path, medium: Filmed) -> Clip:
    """Decode a video or image of the store.

    Raises:
        BlackError: It is wholly black.
        ScoreError: It cannot be decoded.
    """
    clip = read_file(path, medium)
    if nothing(clip) == "black":
        raise BlackError(
            f"the {medium} is wholly black: filters of what may be shown give that, and numbers that are not finite in "
            "the generator's dtype (try another one, or component_dtypes: {vae: float32})"
        )
    return clip


def read_file(path: Path, medium: Filmed) -> Clip:
    """Decode a video, or an image as a clip of one frame.

    Raises:
        ScoreError: It cannot be decoded.
    """
    return read_image(path) if medium == "image" else read_video(path)


def _is_h264(path: Path) -> bool:
    """Whether a file is H.264 video in an MP4 container.

    Raises:
        ScoreError: It is no video.
    """
    import av

    try:
        with av.open(str(path)) as container:
            codec = container.streams.video[0].codec_context.name
            return codec == "h264" and "mp4" in container.format.name.split(",")
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ScoreError(f"{path}: cannot be decoded ({error})") from error


def write_manifest(entries: Iterable[Entry], path: Path) -> None:
    """Write a manifest as JSON lines, in the order given."""
    write_text(path, "".join(json.dumps(asdict(entry)) + "\n" for entry in entries))


def read_manifest(path: Path) -> list[Entry]:
    """Read a manifest.

    Raises:
        InputError: The file is missing, or a line is not an entry and it is removed.
    """
    try:
        return [_ENTRY.validate_json(line, strict=True) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise unreadable(path, "manifest of videos", error) from error
