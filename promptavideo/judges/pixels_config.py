"""The entry of the laptop's judge, apart from the libraries that it measures with."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from promptavideo.judges.base import Judge, JudgeEntry
from promptavideo.metrics import HPS, PAPER, Metric


class PixelsConfig(JudgeEntry):
    """The laptop's judge: all seven metrics of the paper, measured from pixels of the miniature's world."""

    METRICS: ClassVar[tuple[Metric, ...]] = PAPER
    MINIATURE: ClassVar[bool] = True

    kind: Literal["pixels"]

    def load(self, folders: Mapping[str, Path]) -> Judge:
        """Import what measures."""
        from promptavideo.judges.pixels import PixelJudge

        return PixelJudge()


class PixelPreferenceConfig(JudgeEntry):
    """HPS by measurements of pixels, for the miniatures of `resources/`; measures nothing else."""

    METRICS: ClassVar[tuple[Metric, ...]] = (HPS,)
    MINIATURE: ClassVar[bool] = True

    kind: Literal["pixel-preference"]

    def load(self, folders: Mapping[str, Path]) -> Judge:
        """Import what measures."""
        from promptavideo.judges.pixels import PixelPreference

        return PixelPreference()
