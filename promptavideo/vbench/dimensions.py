"""The sixteen dimensions of VBench: how each is averaged and normalised, and how they make the totals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Number = Any
"""A float, or an array of them."""

Group = Literal["quality", "semantic"]


@dataclass(frozen=True)
class Dimension:
    """One dimension and VBench's constants for it (`scripts/constant.py` of its repository)."""

    group: Group
    prompts: int
    """That VBench's list judges for it."""
    low: float = 0.0
    """The value that counts as 0 in the totals."""
    high: float = 1.0
    """The value that counts as 1 in the totals."""
    weight: float = 1.0
    """Among the dimensions of its group."""
    frames: int | None = None
    """VBench averages over frames instead of videos: over this many fewer frames than a video has."""
    scale: float = 1.0
    """What VBench's results of single videos are divided by: only its averages are always 0-1."""
    partial: bool = False
    """VBench leaves out videos in which it finds nothing to judge."""
    described: bool = False
    """Needs what VBench's prompt list says of a prompt, so it judges no other prompts."""


DIMENSIONS = {
    "subject_consistency": Dimension("quality", 72, 0.1462, 1.0, frames=1),
    "background_consistency": Dimension("quality", 86, 0.2615, 1.0, frames=1),
    "temporal_flickering": Dimension("quality", 75, 0.6293, 1.0),
    "motion_smoothness": Dimension("quality", 72, 0.706, 0.9975),
    "dynamic_degree": Dimension("quality", 72, weight=0.5),
    "aesthetic_quality": Dimension("quality", 93),
    "imaging_quality": Dimension("quality", 93, scale=100.0),
    "object_class": Dimension("semantic", 79, described=True),
    "multiple_objects": Dimension("semantic", 82, described=True),
    "human_action": Dimension("semantic", 100, described=True),
    "color": Dimension("semantic", 85, partial=True, described=True),
    "spatial_relationship": Dimension("semantic", 84, described=True),
    "scene": Dimension("semantic", 86, 0.0, 0.8222, described=True),
    "appearance_style": Dimension("semantic", 90, 0.0009, 0.2855, frames=0, described=True),
    "temporal_style": Dimension("semantic", 100, 0.0, 0.364),
    "overall_consistency": Dimension("semantic", 93, 0.0, 0.364),
}
"""In the order of the paper's Table 8."""

LIST_PROMPTS = 946
"""Prompts of VBench's list."""

SAMPLES = 5
"""Videos of a prompt that VBench looks at, at most."""

GROUP_WEIGHTS: dict[Group, float] = {"quality": 4.0, "semantic": 1.0}
TOTALS = ("total", "quality", "semantic")


def weight(dimension: str, frames: int) -> int:
    """How much a video of `frames` frames counts in a dimension's average."""
    fewer = DIMENSIONS[dimension].frames
    return 1 if fewer is None else frames - fewer


def totals(values: Mapping[str, Number]) -> dict[str, Number]:
    """VBench's total, quality and semantic scores.

    Args:
        values: Averages by dimension, 0-1; numbers, or arrays of one shape. A missing one is NaN or absent.

    Returns:
        `TOTALS`, 0-1; NaN where a dimension that it needs is missing, since a total of the others would compare with
        nobody's.
    """
    groups = {str(group): _normalised(group, values) for group in GROUP_WEIGHTS}
    weighted = [weight * groups[group] for group, weight in GROUP_WEIGHTS.items()]
    return {"total": sum(weighted) / sum(GROUP_WEIGHTS.values()), **groups}


def _normalised(group: Group, values: Mapping[str, Number]) -> Number:
    """The weighted mean of a group's dimensions, each stretched to 0-1."""
    parts = {name: one for name, one in DIMENSIONS.items() if one.group == group}
    stretched = [
        one.weight * (values.get(name, float("nan")) - one.low) / (one.high - one.low) for name, one in parts.items()
    ]
    return sum(stretched[1:], stretched[0]) / sum(one.weight for one in parts.values())
