"""Copies of videos and images for people to look at: in a size and a format that every browser shows."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptavideo.files import atomic_path
from promptavideo.video import Clip, Filmed, write_video

VIEWED: dict[Filmed, str] = {"video": ".mp4", "image": ".jpg"}
"""The suffix of a copy of each medium."""


@dataclass(frozen=True)
class Size:
    """The size of a copy, in pixels."""

    least: int
    """Of the shorter side: smaller clips are enlarged by a whole factor, so that pixels stay pixels."""
    most: int
    """Of the longer side: larger clips are shrunk."""


def fitted(frames: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Frames enlarged or shrunk to a size, with even sides.

    Args:
        frames: uint8 RGB [T, H, W, 3].
        size: The limits; where both cannot be met, the upper one is.

    Returns:
        uint8 RGB [T, h, w, 3]; h and w are even, as H.264 wants them (an odd side repeats its last pixels).
    """
    import cv2

    height, width = frames.shape[1:3]
    if min(height, width) < size.least:
        factor = max(1, min(-(-size.least // min(height, width)), size.most // max(height, width)))
        frames = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    elif max(height, width) > size.most:
        scale = size.most / max(height, width)
        target = max(1, round(width * scale)), max(1, round(height * scale))
        frames = np.stack([cv2.resize(frame, target, interpolation=cv2.INTER_AREA) for frame in frames])
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    return np.pad(frames, odd, mode="edge")


def write_copy(clip: Clip, medium: Filmed, path: Path, size: Size, crf: int = 20) -> None:
    """Write a copy of a clip, whole or not at all: H.264 in yuv420p, or JPEG. The same clip gives the same bytes.

    Args:
        clip: What to copy.
        medium: What it is.
        path: Target, with the suffix that `VIEWED` names.
        size: Of the copy.
        crf: x264's quality.
    """
    frames = fitted(clip.frames, size)
    if medium == "video":
        write_video(Clip(frames, clip.fps), path, crf, streamed=True)
        return
    with atomic_path(path) as partial:
        partial.write_bytes(_jpeg(frames[0], 92))


def poster(clip: Clip, side: int) -> str:
    """The middle frame of a clip as a small JPEG, for a page to show until the video is there.

    Args:
        clip: The clip.
        side: Pixels of its longer side, at most; smaller frames stay as they are.

    Returns:
        A `data:` URI.
    """
    frame = fitted(clip.frames[len(clip.frames) // 2][None], Size(1, side))[0]
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(frame, 80)).decode("ascii")


def _jpeg(frame: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(stream, format="JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
