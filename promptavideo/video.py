"""Clips in memory and as MP4 files."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promptavideo.errors import ScoreError
from promptavideo.files import atomic_path

Filmed = Literal["video", "image"]
"""The medium of what a generator films."""


@dataclass(frozen=True)
class Clip:
    """Decoded frames, uint8 RGB [T, H, W, 3], and the frame rate in frames a second; an image is one frame, at 0."""

    frames: NDArray[np.uint8]
    fps: float


Nothing = Literal["black", "of one colour", "frozen"]
"""What a clip is that shows nothing happen."""

NOISE = 8
"""Differences between values, of 255, that writing and reading a video make of equal ones."""

BLACK = 16
"""The largest value of a wholly black video, by the same noise and by those who write black as 16."""


def nothing(clip: Clip) -> Nothing | None:
    """What a clip is if it is wholly black, of one colour throughout, or several frames that are all the same."""
    frames = clip.frames
    if frames.max() <= BLACK:
        return "black"
    if np.ptp(frames, axis=(0, 1, 2)).max() <= NOISE:
        return "of one colour"
    if len(frames) > 1 and all(np.abs(frame.astype(np.int16) - frames[0]).max() <= NOISE for frame in frames[1:]):
        return "frozen"
    return None


def write_video(clip: Clip, path: Path, crf: int = 12, pixel_format: str = "yuv420p", streamed: bool = False) -> None:
    """Write a clip as H.264, whole or not at all.

    The same clip always gives the same bytes: one encoder thread, no wall-clock metadata, and no macroblock tree, whose
    assembly in x264 reads stale memory on small frames (measured with av 18.1.0: up to 13 different files of one clip).

    Args:
        clip: What to write; height and width must be even for yuv420p.
        path: Target file, `.mp4`.
        crf: x264's constant rate factor, 0 (lossless) to 51; 12 is visually lossless.
        pixel_format: `yuv420p` plays everywhere; `yuv444p` keeps the colours of tiny clips.
        streamed: Put the index first, so that a page plays the video before all of it has come.
    """
    import av

    options = {"fflags": "+bitexact", **({"movflags": "+faststart"} if streamed else {})}
    with atomic_path(path) as partial, av.open(str(partial), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps).limit_denominator(1001))
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(crf), "preset": "medium", "flags": "+bitexact", "x264-params": "mbtree=0"}
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def read_video(path: Path) -> Clip:
    """Decode every frame of a video.

    Raises:
        ScoreError: The file is missing, is cut short, or holds no video frame.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            expected, rate = stream.frames, stream.average_rate
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ScoreError(f"{path}: cannot be decoded ({error})") from error
    if not frames or (expected and len(frames) < expected):
        raise ScoreError(f"{path}: only {len(frames)} of {expected} frames can be decoded")
    return Clip(np.stack(frames), float(rate or 0))
