"""Images in memory, as clips of one frame, and as PNG files."""

from pathlib import Path

import numpy as np

from promptavideo.errors import ScoreError
from promptavideo.files import atomic_path
from promptavideo.video import Clip

MOST_PIXELS = 2**26
"""Of an image that is read: 8192 x 8192, a limit against files that unpack to all of a machine's memory."""

PLAIN = ("RGB", "L", "P")
"""What is read: 8 bits a channel, without transparency; gray and palettes become RGB without loss."""


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


def read_image(path: Path) -> Clip:
    """Decode an image as a clip of one frame, without a frame rate.

    Raises:
        ScoreError: The file is missing, cut short, too large, no image, or of other colours than 8-bit RGB or gray.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ScoreError(f"{path}: {image.width} x {image.height} pixels are more than {MOST_PIXELS}")
            if image.mode not in PLAIN or "transparency" in image.info:
                raise ScoreError(
                    f"{path}: is an image of mode {image.mode}, not 8-bit RGB or gray; have what makes it write RGB"
                )
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ScoreError(f"{path}: cannot be decoded ({error})") from error
    return Clip(pixels[None].copy(), 0.0)
