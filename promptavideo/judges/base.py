"""What a judge is: something that looks at clips and their ORIGINAL prompts and gives raw scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from promptavideo.metrics import Medium, Metric
from promptavideo.settings import Entry, Planning
from promptavideo.video import Clip, Filmed


class JudgeEntry(Entry):
    """The configuration of any judge. Cached scores are kept under what decides them, and under `VERSION`."""

    METRICS: ClassVar[tuple[Metric, ...]]
    """What it can fill."""
    VERSION: ClassVar[int] = 1
    """Raised with every change of the judge's code that moves a score."""

    MINIATURE: ClassVar[bool] = False
    """Whether it understands the miniature's world only, and would judge other footage by numbers that mean nothing."""

    metrics: Annotated[list[str] | None, Planning()] = Field(None, min_length=1)
    """Those of its metrics that it fills here; all when absent."""
    role: Annotated[Literal["reward", "report"], Planning()] = "reward"
    """`reward`: its metrics are in the objective, they select and train. `report`: nobody selects by them or trains on
    them; they stand in the tables beside the rewards, as a judge that was held out."""
    on: Annotated[list[str] | None, Planning()] = Field(None, min_length=1)
    """With `role: report`: the evaluation sets that it judges; all when absent."""

    @property
    def filled(self) -> tuple[Metric, ...]:
        """The metrics that it fills, in its own order."""
        return tuple(one for one in self.METRICS if self.metrics is None or one.name in self.metrics)

    @property
    def medium(self) -> Medium:
        """What it looks at, by all that it fills here."""
        media = [one.medium for one in self.filled]
        return "video" if "video" in media else media[0]

    def of(self, filmed: Filmed) -> Self | None:
        """The entry with those of its metrics that what a generator of a medium films can have; None without any."""
        names = [one.name for one in self.filled if one.judges(filmed)]
        return self if len(names) == len(self.filled) else self.model_copy(update={"metrics": names}) if names else None

    @model_validator(mode="after")
    def _can_fill(self) -> Self:
        known = [one.name for one in self.METRICS]
        if strange := [name for name in self.metrics or [] if name not in known]:
            raise ValueError(f"metrics: there is no {strange[0]!r}; known are {', '.join(known)}")
        if self.role == "reward" and self.on is not None:
            raise ValueError("on: belongs to judges of `role: report`; rewards judge whatever is learned from or shown")
        return self

    def settled(self, name: str) -> Self:
        """The entry with what this machine decides, such as its dtype; cached scores are kept under it.

        Args:
            name: Its name, for messages.
        """
        return self

    def load(self, folders: Mapping[str, Path]) -> "Judge | TextJudge":
        """Load the judge.

        Args:
            folders: The folders of its models, by the key that names them.

        Raises:
            InputError: A model does not fit, or a required GPU is missing.
        """
        raise NotImplementedError


class Judge(ABC):
    """One model or rule, which fills one or more metrics.

    Judges always see the prompt the user wrote, never the refined one: a booster must not be able to earn alignment by
    asking for less.

    >>> import numpy
    >>> from promptavideo.judges.base import Judge
    >>> from promptavideo.video import Clip, Filmed
    >>> class Brightness(Judge):
    ...     metrics = ("LIGHT",)
    ...     def score(self, clips, prompts):
    ...         return [{"LIGHT": float(clip.frames.mean()) / 255} for clip in clips]
    >>> clip = Clip(numpy.full((8, 32, 32, 3), 51, "uint8"), fps=8)
    >>> Brightness().score([clip], ["a cat on a wall"])
    [{'LIGHT': 0.2}]
    """

    metrics: tuple[str, ...]
    """The names of what it fills."""

    batch_size: int = 1
    """How many clips a call should get; no score depends on it by more than rounding."""

    def circumstances(self) -> dict[str, Any]:
        """What is recorded of a scoring job that the settings do not say."""
        return {}

    def prepare(self, clip: Clip, prompt: str) -> Any:
        """What `score_prepared` needs of a clip, and no more, since it waits until a batch is full.

        A thread of its own calls this, beside the one that scores.

        Raises:
            ScoreError: The clip cannot be judged.
        """
        return clip, prompt

    def score_prepared(self, prepared: Sequence[Any]) -> list[dict[str, float]]:
        """What `score` gives, for clips that `prepare` made ready."""
        return self.score([clip for clip, _ in prepared], [prompt for _, prompt in prepared])

    @abstractmethod
    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        """Raw scores of each clip, one dict {metric: score} a clip, in order.

        The result for a clip must not depend on the other clips in the call.
        """


class TextJudge(ABC):
    """Looks at refined texts and the original prompts, and not at what was filmed of them.

    >>> from promptavideo.judges.base import TextJudge
    >>> class Length(TextJudge):
    ...     def score(self, prompts, texts):
    ...         return [{"LONGER": len(text) / len(prompt)} for prompt, text in zip(prompts, texts)]
    >>> Length().score(["a cat"], ["a red cat "])
    [{'LONGER': 2.0}]
    """

    def circumstances(self) -> dict[str, Any]:
        """What is recorded of a scoring job that the settings do not say."""
        return {}

    @abstractmethod
    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> list[dict[str, float]]:
        """Raw scores of each text, one dict {metric: score} a text, in order; they depend on no other text."""
