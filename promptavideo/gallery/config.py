"""The configuration of the gallery."""

from typing import Annotated

from pydantic import Field

from promptavideo.settings import Planning, Section


class GalleryConfig(Section):
    """The page on which the evaluation's videos play beside each other."""

    prompts: int | None = Field(None, ge=1)
    """Of each set that it shows, the first ones by id; all when absent."""
    least_pixels: int = Field(128, ge=16)
    """Of the shorter side of its copies: smaller videos are enlarged by a whole factor."""
    most_pixels: int = Field(384, ge=16)
    """Of the longer side of its copies: larger videos are shrunk."""
    crf: int = Field(24, ge=0, le=51)
    """x264's quality of its copies, 0 lossless ... 51."""
    threads: Annotated[int, Planning()] = Field(2, ge=1)
    """Videos that are copied at a time."""
