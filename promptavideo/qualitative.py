"""Which prompts stand for a run where its videos are shown: by a rule that is said beside them, never the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Ref, Section

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.tables import Arm, Columns

MEDIAN = "median gain"
"""The rule that chooses prompts unless somebody names some."""


class QualitativeConfig(Section):
    """Which videos the figure `qualitative` shows."""

    prompts: Literal["median gain"] | Annotated[list[str], Field(min_length=1)] = "median gain"
    """`median gain`: those whose gain of the last booster over the original prompts is nearest to the median; or a list
    of prompts or their ids, and then the figure says that they were chosen."""
    count: int = Field(3, ge=1, le=12)
    """Prompts that `median gain` takes."""
    frames: int = Field(5, ge=1, le=12)
    """Evenly spaced frames of each video."""
    refiners: Annotated[list[str] | None, Ref("refiners")] = Field(None, min_length=1)
    """Among those that the track compares; absent: the original prompts, the one-shot rewrite, the first booster and
    the last."""
    track: Annotated[str | None, Ref("generators")] = None
    """Absent: the first."""
    set: str | None = None
    """The evaluation set, which the rewards score; absent: the track's first."""


@dataclass(frozen=True)
class Gain:
    """What one refiner gains over another, prompt by prompt."""

    refiner: str
    over: str
    by_prompt: "pd.Series"
    """The paired difference of `avg`, by prompt_id."""

    @property
    def median(self) -> float:
        """The median gain, of two the lower one, so that there is a prompt that has it."""
        return float(sorted(self.by_prompt)[(len(self.by_prompt) - 1) // 2])

    def nearest_median(self, count: int) -> list[str]:
        """The prompts whose gains are nearest to the median, that one first; of equal ones, by rank."""
        ranked = sorted(self.by_prompt.items(), key=lambda item: (item[1], str(item[0])))
        middle, (_, median) = (len(ranked) - 1) // 2, ranked[(len(ranked) - 1) // 2]
        distances = {
            str(name): (abs(gain - median), abs(rank - middle), rank) for rank, (name, gain) in enumerate(ranked)
        }
        return sorted(distances, key=lambda name: distances[name])[:count]


def gain_of(arm: "Arm", over: "Arm", columns: "Columns") -> Gain:
    """What an arm gains over another one of the same generator and set.

    Raises:
        InputError: They were not filmed for the same prompts and replicates.
    """
    from promptavideo.tables import check_same_videos, prompt_means

    check_same_videos(arm, over)
    difference = prompt_means(arm, columns)["avg"] - prompt_means(over, columns)["avg"]
    return Gain(arm.refiner, over.refiner, difference)


@dataclass(frozen=True)
class Choice:
    """The prompts to show, and how they were chosen."""

    prompt_ids: Sequence[str]
    said: str
    """In whole sentences, for people."""


def choose(config: QualitativeConfig, prompts: Mapping[str, str], gain: Gain | None) -> Choice:
    """The prompts of the figure.

    Args:
        config: Its settings.
        prompts: All prompts that were filmed, by id.
        gain: Of the last refiner over the original prompts; None if nothing is compared with them.

    Raises:
        InputError: The configuration names a prompt that was not filmed.
    """
    from promptavideo.text import text_key

    if config.prompts != MEDIAN:
        ids = {text_key(text): name for name, text in prompts.items()} | {name: name for name in prompts}
        found = {one: ids.get(one) or ids.get(text_key(one)) for one in config.prompts}
        if lost := [one for one, name in found.items() if name is None]:
            raise InputError(
                f"qualitative.prompts: {lost[0]!r:.200} is no prompt of the set that is shown, nor the id of one; name "
                f"others of its {len(prompts)} prompts, or leave the key out"
            )
        chosen = list(dict.fromkeys(name for name in found.values() if name))
        return Choice(chosen, "The prompts were chosen by name (qualitative.prompts in the configuration).")
    if gain is None:
        return Choice(sorted(prompts)[: config.count], "The prompts are the first by their ids.")
    chosen = gain.nearest_median(config.count)
    what = "prompt is the one" if len(chosen) == 1 else f"{len(chosen)} prompts are those"
    return Choice(
        chosen,
        f"The {what} on which the gain of {gain.refiner} over {gain.over} in avg is nearest to the median of all "
        f"{len(gain.by_prompt)} prompts ({gain.median:+.2f}): typical, not the best.",
    )


def caption(of: str, frames: int, choice: Choice, replicates: int, filmed: str) -> str:
    """What stands under the figure.

    Args:
        of: What is shown, such as a track and a set.
        frames: Of each video, at most.
        choice: The prompts.
        replicates: Videos of each prompt, of which the first is shown.
        filmed: The medium.
    """
    what = f"{frames} evenly spaced frames of each video" if filmed == "video" else "Images"
    first = f" Of {replicates} {filmed}s a prompt, the first is shown." if replicates > 1 else ""
    return f"{of}: {what}, beside the text that it was filmed from. {choice.said}{first}"
