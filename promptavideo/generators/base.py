"""What a generator is: something that films shots."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.errors import InputError, PromptAVideoError
from promptavideo.hardware import environment
from promptavideo.probe import Work
from promptavideo.reading import Reader
from promptavideo.settings import Entry
from promptavideo.shots import Shot
from promptavideo.store import VideoFile
from promptavideo.video import Clip, Filmed

TAKES_NEGATIVE = (
    "A diffusers pipeline takes them where its guidance is on (guidance_scale, or true_cfg_scale, over 1), a command "
    "with takes_negative: true, and no hosted model; else leave out who writes them"
)
"""Which generators take negative prompts of texts, for messages."""


class GeneratorEntry(Entry):
    """The configuration of any generator. What it decides makes the identity."""

    if TYPE_CHECKING:  # fields here would come before those of each kind
        batch_size: int
        threads: int
        seconds_per_video: float

        @property
        def takes_negative(self) -> bool:
            """Whether it can film away from what a shot itself says."""

        @property
        def negative_prompt(self) -> str | None:
            """What it films away from where a shot does not say."""

    @property
    def filmed(self) -> Filmed:
        """What it films: a kind that can make images has a key, or a class variable, `medium`."""
        return getattr(self, "medium", "video")

    films_here: ClassVar[bool] = True
    """Whether the machine that runs the job computes its videos, and is paid for by the hour."""

    @property
    def price(self) -> float:
        """Of one video, where each is paid for."""
        return 0.0

    @property
    def work(self) -> Work | None:
        """In what it films, for the probe of a machine; None where a probe would not show how fast."""
        return None

    @property
    def text_bound(self) -> bool:
        """Whether texts that are written for it are bounded by what it reads."""
        return False

    def reader(self, folder: Path) -> Reader | None:
        """What texts that are written for it are bounded by, where `text_bound`; None if nothing says what it reads.

        Args:
            folder: Of its model.

        Raises:
            InputError: Its tokenizer cannot be loaded.
        """
        return None

    def settings(self) -> dict[str, Any]:
        """The part of `identity` that the entry holds: all that decides but the models, which count by their digest."""
        return {name: value for name, value in self.decides().items() if name != "model"}

    def strangers(self, filming: Sequence[Mapping[str, Any]]) -> str | None:
        """What films if it is no model of the registry, for comparing with the paper's; None if models say it.

        Args:
            filming: The records of the jobs that filmed.
        """
        return None

    @abstractmethod
    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> "Generator":
        """Load the generator.

        Args:
            name: Its name, for messages.
            folders: The folders of its `models`, in their order.
            work: Folder for what commands and endpoints make and for what was ordered of them, the same in each job.

        Raises:
            InputError: It cannot be loaded, or cannot film from here.
        """


def check_rate(medium: Filmed, fps: float | None) -> None:
    """Check that there is a frame rate where videos are filmed, and only there.

    Raises:
        ValueError: It is otherwise, as a validator says.
    """
    if medium == "video" and fps is None:
        raise ValueError("fps: is missing; videos have a frame rate")
    if medium == "image" and fps is not None:
        raise ValueError("fps: belongs to videos; images have no frame rate")


class RefusedError(InputError):
    """A generator will not film this text, however often it is asked."""


Made = Clip | VideoFile | PromptAVideoError
"""What a generator gives for one shot: its video, or why there is none. A `RefusedError` lets the others go on, any
other error ends the work."""


class Generator(ABC):
    """A text-to-video model with its sampling settings.

    >>> import numpy
    >>> from promptavideo.generators.base import Generator
    >>> from promptavideo.shots import Shot
    >>> from promptavideo.video import Clip
    >>> class Noise(Generator):
    ...     batch_size = 1
    ...     def identity(self):
    ...         return {"noise": 1}
    ...     def film(self, shots):
    ...         for shot in shots:
    ...             yield Clip(numpy.random.default_rng(shot.seed).integers(0, 256, (8, 32, 32, 3), "uint8"), fps=8)
    >>> shot = Shot("a cat on a wall", negative=None, seed=1)
    >>> [clip.frames.shape for clip in Noise().film([shot])]
    [(8, 32, 32, 3)]
    >>> Noise().key(shot)
    '8f7bae0aad8ec42ee56952b714b56756'
    """

    batch_size: int
    """Videos filmed by one call of the model. If pixels depend on it, it is part of the identity: see `film`."""

    crf: int = 12
    pixel_format: str = "yuv420p"
    """How its clips are written (see `video.write_video`)."""

    negative_prompt: str | None = None
    """What it films away from where a shot does not say; None: nothing."""
    takes_negative: bool = False
    """Whether it can film away from what a shot itself says."""

    reads_tokens: int | None = None
    """Tokens of a text that it reads; None: all of them, or it is not known."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything but the shot that decides a video's pixels: model revision, settings, encoding."""

    @abstractmethod
    def film(self, shots: Sequence[Shot]) -> Iterable[Made]:
        """Film at most `batch_size` shots and give what was made of each, in order, as soon as it is there.

        A video may depend on its own shot only. Floating-point sums depend on the shape of a batch, so an
        implementation that computes several together pads every call to `batch_size`: one shape, one result, however
        the work was split.
        """

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int | None]:
        """Tokens of each text; None where `reads_tokens` is not known."""
        return [None] * len(texts)

    def cuts(self, tokens: int | None) -> bool:
        """Whether it reads a part only of a text of so many tokens."""
        return tokens is not None and self.reads_tokens is not None and tokens > self.reads_tokens

    def circumstances(self) -> dict[str, Any]:
        """What is recorded beside a video and is not part of its key; `device` names the hardware."""
        return {}

    def environment(self) -> dict[str, Any]:
        """Interpreter and libraries that film; asked after each video."""
        return environment()

    def negative(self, shot: Shot) -> str | None:
        """A shot's negative prompt if it is not the generator's own."""
        return None if shot.negative == self.negative_prompt else shot.negative

    def key(self, shot: Shot) -> str:
        """The name of a video in the store: 32 hexadecimal digits of a hash over identity and shot.

        A negative prompt counts only where it is not the generator's own, which is part of the identity.
        """
        own = self.negative(shot)
        said = [shot.text, shot.seed] if own is None else [shot.text, own, shot.seed]
        parts = json.dumps([self.identity(), *said], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()[:32]
