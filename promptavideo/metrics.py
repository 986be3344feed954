"""What is measured: metrics, and the objective that selects and trains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from promptavideo.video import Filmed

Medium = Literal["video", "image", "text"]


@dataclass(frozen=True)
class Metric:
    """One measure, as the judge that fills it declares it."""

    name: str
    """The column of raw values."""
    low: float = -math.inf
    """The least raw value."""
    high: float = math.inf
    to_five: float = 1.0
    """Factor from a raw value to the 0-5 scale on which metrics are added up and shown."""
    medium: Medium = "video"
    """What is looked at, with the original prompt: a video; an image, or frames of a video; the refined text."""

    def judges(self, filmed: Filmed) -> bool:
        """Whether it can be had of what a generator of a medium films."""
        return self.medium != "video" or filmed == "video"

    @property
    def five(self) -> str:
        """The column of values on the 0-5 scale."""
        return f"{self.name}_5"


VIDEOSCORE = tuple(Metric(name, 1.0, 4.0) for name in ("VQ", "TC", "DD", "TVA", "FC"))
"""VideoScore's, of which the paper shows the mean; the network may leave the range of its labels a little."""
AES = Metric("AES", 1.0, 10.0, 5 / 8, "image")
"""The paper's factor (authors' code: AES * 5/8)."""
MPS = Metric("MPS", 0.0, 20.0, 1 / 4, "image")
"""The paper's factor (authors' code: MPS / 4)."""
HPS = Metric("HPS", -100.0, 100.0, 1 / 8, "image")
"""HPS v2.1, a cosine times 100; the factor is this project's, by which the 33 of good image models is about 4."""
PAPER = (*VIDEOSCORE, AES, MPS)
"""The paper's objective, in its order."""

Objective = Sequence[Metric]
"""The metrics that select and train, in the order of columns and sums."""
