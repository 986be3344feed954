"""What a reward is: something that looks at clips and their ORIGINAL prompts and gives raw scores."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from promptavideo.settings import Section
from promptavideo.video import Clip


class JudgeEntry(Section):
    """The configuration of any reward. Cached scores are kept under all of it but `PLANNING`."""

    MODELS: ClassVar[tuple[str, ...]] = ()
    """Keys that name models of the registry."""
    FILES: ClassVar[tuple[str, ...]] = ()
    """Keys that name other files which are read to score."""
    PLANNING: ClassVar[tuple[str, ...]] = ()
    """Keys that decide how the work is done and move no score."""

    @property
    def models(self) -> dict[str, str]:
        """The models that must be fetched first, {key: name in the registry}."""
        return {key: getattr(self, key) for key in self.MODELS}

    @property
    def files(self) -> dict[str, str]:
        """The other files that are read, {key: path relative to the repository root}."""
        return {key: getattr(self, key) for key in self.FILES}


class Judge(ABC):
    """One reward model, covering one or more of the seven dimensions.

    Rewards always see the prompt the user wrote, never the refined one: a booster must not be able to earn alignment by
    asking for less.
    """

    dimensions: ClassVar[tuple[str, ...]]
    """The dimensions it fills, a subset of `schemas.DIMENSIONS`."""

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
        """Raw scores of each clip, one dict {dimension: score} a clip, in order.

        The result for a clip must not depend on the other clips in the call.
        """
