"""Frames as OpenAI's CLIP takes them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the images that CLIP was trained on, in red, green, blue; 0 is black and 1 white."""


def clip_pixels(frames: NDArray[np.uint8], size: int) -> "torch.Tensor":
    """Scale the shorter side to `size` (bicubic), cut the middle out, and normalise, as CLIP's own transform does.

    Args:
        frames: uint8 [T, H, W, 3].
        size: Side of the square that the network takes, in pixels.

    Returns:
        float32 [T, 3, size, size].
    """
    import torch
    from PIL import Image

    height, width = frames.shape[1:3]
    short = min(height, width)
    scaled = (int(size * width / short), int(size * height / short))
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    box = (left, top, left + size, top + size)
    images = [Image.fromarray(frame).resize(scaled, Image.Resampling.BICUBIC).crop(box) for frame in frames]
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255
    normal = (pixels - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)
    return torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()


def padded_pixels(frames: NDArray[np.uint8], size: int) -> "torch.Tensor":
    """Scale the longer side to `size` (bicubic, antialiased), set the frame in the middle of black, and normalise.

    HPS's own transform, which scales tensors; values that overshoot are not clipped there. Its package takes whatever
    torchvision there is, which antialiases tensors by default since 0.17.

    Args:
        frames: uint8 [T, H, W, 3].
        size: Side of the square that the network takes, in pixels.

    Returns:
        float32 [T, 3, size, size].
    """
    import torch
    from torch.nn.functional import interpolate, pad

    images = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255
    height, width = frames.shape[1:3]
    scale = size / max(height, width)
    if scale != 1:
        scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
        images = interpolate(images, scaled, mode="bicubic", align_corners=False, antialias=True)
    below, right = (size - side for side in images.shape[2:])
    images = pad(images, (right // 2, right - right // 2, below // 2, below - below // 2))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images - mean) / std).contiguous()
