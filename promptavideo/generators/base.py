"""What a generator is: something that films texts, each with its own seed."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from promptavideo.video import Clip


class Generator(ABC):
    """A text-to-video model with its sampling settings."""

    batch_size: int
    """Videos filmed by one call of the model. It is part of what a video is: see `film`."""

    crf: int
    pixel_format: str
    """How its clips are written (see `video.write_video`)."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything but text and seed that decides a video's pixels: model revision, settings, encoding."""

    @abstractmethod
    def film(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Clip]:
        """Film at most `batch_size` texts and return their clips in order.

        A clip may depend on its own text and seed only. Floating-point sums depend on the shape of a batch, so an
        implementation pads every call to `batch_size`: one shape, one result, however the work was split.
        """

    def key(self, text: str, seed: int) -> str:
        """The name of a video in the store: 32 hexadecimal digits of a hash over identity, text and seed."""
        parts = json.dumps([self.identity(), text, seed], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]
