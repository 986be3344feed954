"""Images in memory, as clips of one frame, and as PNG files."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promptavideo.errors import ScoreError
from promptavideo.files import atomic_path
from promptavideo.video import Clip

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**26
"""Of an image that is read: 8192 x 8192, a limit against files that unpack to all of a machine's memory."""

PLAIN = ("RGB", "L", "P")
"""What is read: 8 bits a channel, without transparency; gray and palettes become RGB without loss."""


class NotPlainError(ScoreError):
    """An image has other colours or more pixels than are read, which reading it again would not change."""


def write_image(clip: Clip, path: Path) -> None:
    """Write the one frame of a clip as PNG, without loss, whole or not at all.

    Args:
        clip: One frame.
        path: Target file, `.png`.

    Raises:
        ScoreError: There is no frame without pixels, or more than one.
    """
    from PIL import Image

    if len(clip.frames) != 1 or not clip.frames.size:
        raise ScoreError(f"{path}: {list(clip.frames.shape)} is no image of one frame [1, height, width, 3]")
    with atomic_path(path) as partial:
        Image.fromarray(np.ascontiguousarray(clip.frames[0])).save(partial, format="PNG")


def read_image(path: Path, formats: tuple[str, ...] | None = None) -> Clip:
    """Decode an image as a clip of one frame, without a frame rate.

    Args:
        path: The file.
        formats: Pillow's names of those that it may have, for files of strangers; None: all that Pillow reads.

    Raises:
        NotPlainError: The image is too large, or of other colours than 8-bit RGB or gray.
        ScoreError: The file is missing, cut short, or no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MOST_PIXELS:
                raise NotPlainError(f"{path}: {image.width} x {image.height} pixels are more than {MOST_PIXELS}")
            if (mode := _mode(image)) not in PLAIN or "transparency" in image.info:
                raise NotPlainError(
                    f"{path}: is an image of mode {mode}, not 8-bit RGB or gray; have what makes it write RGB"
                )
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ScoreError(f"{path}: cannot be decoded ({error})") from error
    return Clip(pixels[None].copy(), 0.0)


def _mode(image: "Image.Image") -> str:
    """The mode of an image as its file has it: of RGB with 16 bits a channel, Pillow says RGB and reads the upper 8."""
    deep = (re.search(r"RGB;16\w*", str(tile.args)) for tile in getattr(image, "tile", ()))
    return next((found[0] for found in deep if found), image.mode)
