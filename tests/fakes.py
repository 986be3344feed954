"""A generator and a reward without a model, for tests of what happens around them."""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from promptavideo import shots as shots_module
from promptavideo.errors import InputError
from promptavideo.generators.base import Generator, Made, RefusedError
from promptavideo.judges.base import Judge
from promptavideo.metrics import PAPER
from promptavideo.miniature.world import random_scene, render
from promptavideo.seeds import derive
from promptavideo.shots import Refined, Shot
from promptavideo.video import Clip

METRICS = tuple(metric.name for metric in PAPER)


class Painter(Generator):
    """Films scenes of the miniature's world that follow from text and seed, and remembers what it filmed."""

    crf, pixel_format = 8, "yuv444p"

    def __init__(
        self,
        batch_size: int = 2,
        revision: str = "1",
        videos: float = math.inf,
        blank: int = 0,
        refused: Sequence[str] = (),
        lost: Sequence[str] = (),
        device: str = "easel",
    ) -> None:
        """Paint `videos` videos before dying; the first `blank` of them have no frames.

        Texts of `refused` are refused, texts of `lost` stop the machine.
        """
        self.batch_size, self.revision, self.videos, self.blank = batch_size, revision, videos, blank
        self.refused, self.lost, self.device = refused, lost, device
        self.filmed: list[Shot] = []

    def identity(self) -> dict[str, Any]:
        return {"model": "painter", "revision": self.revision}

    def circumstances(self) -> dict[str, Any]:
        return {"device": self.device}

    def film(self, shots: Sequence[Shot]) -> list[Made]:
        assert len(shots) <= self.batch_size
        clips: list[Made] = []
        for shot in shots:
            text = shot.text
            if text in (*self.refused, *self.lost):
                clips.append(RefusedError("not this") if text in self.refused else InputError("the machine stopped"))
                continue
            if len(self.filmed) >= self.videos:
                raise KeyboardInterrupt
            self.filmed.append(shot)
            own = self.negative(shot)
            rng = np.random.default_rng(derive(text, *([] if own is None else [own]), shot.seed))
            frames = render(random_scene(rng), rng)
            clips.append(Clip(frames[:0] if len(self.filmed) <= self.blank else frames, 8.0))
        return clips


class Critic(Judge):
    """Scores a clip by its brightness and its prompt's length; the first `nans` scores are not numbers."""

    def __init__(self, metrics: tuple[str, ...] = METRICS, nans: float = 0) -> None:
        self.metrics, self.nans = metrics, nans
        self.prompts: list[str] = []

    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        self.prompts += prompts
        scores = []
        for clip, prompt in zip(clips, prompts, strict=True):
            value = float(clip.frames.mean()) + len(prompt)
            scores.append({name: value + place for place, name in enumerate(self.metrics)})
        if len(self.prompts) <= self.nans:
            scores[0][self.metrics[-1]] = math.nan
        return scores


def prompts_table(refined: Mapping[str, Sequence[str | Refined]], replicates: int = 1) -> pd.DataFrame:
    """A `schemas.PROMPTS` table from the refined texts of each prompt; a prompt's id is its text with a p before."""
    tables = [
        shots_module.prompts_table({f"p{prompt}": prompt}, {f"p{prompt}": texts}, 1, replicates)
        for prompt, texts in refined.items()
    ]
    return pd.concat(tables, ignore_index=True)


def deep_png(width: int, height: int) -> bytes:
    """A PNG of RGB with 16 bits a channel, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(range(6)) * width) * height
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
