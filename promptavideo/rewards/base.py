"""What a reward is: something that looks at clips and their ORIGINAL prompts and gives raw scores."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from promptavideo.video import Clip


class Reward(ABC):
    """One reward model, covering one or more of the seven dimensions.

    Rewards always see the prompt the user wrote, never the refined one: a booster must not be able to earn alignment by
    asking for less.
    """

    dimensions: ClassVar[tuple[str, ...]]
    """The dimensions it fills, a subset of `schemas.DIMENSIONS`."""

    @abstractmethod
    def score(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, float]]:
        """Raw scores of each clip, one dict {dimension: score} a clip, in order.

        The result for a clip must not depend on the other clips in the call.
        """
