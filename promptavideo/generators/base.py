"""What a generator is: something that films texts, each with its own seed."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from promptavideo.errors import InputError, PromptAVideoError
from promptavideo.hardware import environment
from promptavideo.store import VideoFile
from promptavideo.video import Clip


class RefusedError(InputError):
    """A generator will not film this text, however often it is asked."""


@dataclass(frozen=True)
class Lost:
    """A video that could not be made, and why. A `RefusedError` lets the others go on, anything else ends the work."""

    error: PromptAVideoError


Made = Clip | VideoFile | Lost
"""What a generator gives for one text."""


class Generator(ABC):
    """A text-to-video model with its sampling settings."""

    batch_size: int
    """Videos filmed by one call of the model. If pixels depend on it, it is part of the identity: see `film`."""

    crf: int = 12
    pixel_format: str = "yuv420p"
    """How its clips are written (see `video.write_video`)."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything but text and seed that decides a video's pixels: model revision, settings, encoding."""

    @abstractmethod
    def film(self, texts: Sequence[str], seeds: Sequence[int]) -> Iterable[Made]:
        """Film at most `batch_size` texts and give what was made of each, in order, as soon as it is there.

        A video may depend on its own text and seed only. Floating-point sums depend on the shape of a batch, so an
        implementation that computes several together pads every call to `batch_size`: one shape, one result, however
        the work was split.
        """

    def circumstances(self) -> dict[str, Any]:
        """What is recorded beside a video and is not part of its key; `device` names the hardware."""
        return {}

    def environment(self) -> dict[str, Any]:
        """Interpreter and libraries that film; asked after each video."""
        return environment()

    def key(self, text: str, seed: int) -> str:
        """The name of a video in the store: 32 hexadecimal digits of a hash over identity, text and seed."""
        parts = json.dumps([self.identity(), text, seed], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]
