"""The section of the user study, and what it compares where the section leaves that open."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator, model_validator

from promptavideo.settings import Planning, Ref, Section

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study

OVERALL = "Which of the two do you prefer overall, given the prompt?"
"""The paper's question, whose wording it does not print."""

CONSENT = (
    "You will see pairs of short clips that computers made of the same sentence, and say which of the two you prefer. "
    "Taking part is voluntary: you may stop at any time, and answer no question that you do not want to. Your answers "
    "are kept under a random number and without your name, with how long each took, and are used for research."
)

MADE = ("results", "store", "logs", "benchmarks", ".snakemake")
"""Folders whose content is made anew, and may be deleted."""

QUESTION = re.compile(r"[a-z][a-z0-9_-]{0,39}")

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class UserStudyConfig(Section):
    """A blind comparison of videos in pairs by people; docs/user-study.md tells how it is done."""

    track: Annotated[str | None, Ref("generators")] = None
    """The generator whose videos are shown; the first one when absent."""
    set: str | None = None
    """The evaluation set whose prompts are shown; the track's first one that is scored by the rewards when absent."""
    pairs: Annotated[list[Pair] | None, Ref("refiners")] = Field(None, min_length=1)
    """[refiner, against] of the track's compared refiners. When absent the last booster, against the original prompts
    and against the first refiner that asks an operator."""
    questions: dict[str, str] = Field(default={"overall": OVERALL}, min_length=1)
    """{name: what raters are asked of each pair}, one after another. By the first one checks are passed."""
    prompts: int | None = Field(40, ge=1)
    """How many of the set's prompts are shown, chosen by seed; null: all."""
    raters: int = Field(20, ge=1)
    """How many people are to finish."""
    spares: int = Field(5, ge=0)
    """Further places, which replace those that raters leave unfinished."""
    items: int = Field(40, ge=1)
    """Pairs that each rater judges."""
    repeats: int = Field(4, ge=0)
    """How many of them each rater sees once more, with the sides swapped."""
    checks: int = Field(3, ge=0)
    """Pairs with a known answer that each rater sees beside them: a video, and the same one behind heavy noise."""
    least_checks: float = Field(0.6, ge=0, le=1)
    """The share of the checks that a rater must pass to be counted."""
    least_agreement: float | None = Field(None, ge=0, le=1)
    """The share of the repeats that a rater must answer alike to be counted; any when absent."""
    consent: str = Field(CONSENT, min_length=1)
    """What raters read and agree to before the first pair."""
    votes: Annotated[str, Planning()] = Field("study-votes", min_length=1)
    """Folder of the server's databases and of the files that raters hand over. Nothing can make these again, so it
    must not be below results/ or another folder of made things."""
    least_pixels: int = Field(256, ge=16)
    """The shorter side of what is shown, at least: smaller videos are enlarged by whole factors."""
    most_pixels: int = Field(720, ge=16)
    """The longer side of what is shown, at most: larger videos are shrunk."""

    @field_validator("votes")
    @classmethod
    def _kept_apart(cls, votes: str) -> str:
        first = PurePath(os.path.normpath(votes)).parts[:1]
        if first in [(one,) for one in MADE] or first in [(), (".",), ("..",)]:
            raise ValueError(
                f"votes cannot be made again, so they need a folder of their own, outside of {', '.join(MADE)}"
            )
        return votes

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.repeats > self.items:
            raise ValueError(f"repeats: of {self.items} items no {self.repeats} can be shown again")
        if self.least_pixels > self.most_pixels:
            raise ValueError("least_pixels: must not be above most_pixels")
        for name in self.questions:
            if not QUESTION.fullmatch(name):
                raise ValueError(f"questions.{name}: a name holds a-z, 0-9, '_' and '-' only, 40 at most")
        return self

    @property
    def plans(self) -> dict[str, object]:
        """What of it decides the plan: all that raters see, and not how their answers are read."""
        return {name: value for name, value in self.decides().items() if not name.startswith("least_") or "pix" in name}


def problems(config: "Config") -> Iterator[str]:
    """What is wrong between the section and the rest of the configuration."""
    given = config.user_study
    track = (given.track if given else None) or next(iter(config.generators))
    if given is None or track not in config.generators:
        return
    if given.set is not None:
        medium = config.generators[track].filmed
        films = [name for name, entry in config.evaluation.sets.items() if entry.filmed_by(medium)]
        if given.set not in films:
            yield f"user_study.set: {track} films no set {given.set!r}; known are {', '.join(films)}"
    known = config.evaluation.compared(track)
    seen: list[set[str]] = []
    for pair in given.pairs or []:
        for name in pair:
            if name in config.refiners and name not in known:
                yield f"user_study.pairs: {track} is not compared by {name!r}; known are {', '.join(known)}"
        if len(set(pair)) < 2 or set(pair) in seen:
            yield f"user_study.pairs: {' and '.join(pair)} are one refiner, or stand there twice"
        seen.append(set(pair))


@dataclass(frozen=True)
class Compared:
    """What the study compares."""

    track: str
    set: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def refiners(self) -> list[str]:
        """All refiners of its pairs, each once."""
        return list(dict.fromkeys(name for pair in self.pairs for name in pair))


def compared(study: "Study") -> Compared | None:
    """What a run's user study compares; None without the section, or where there are no two refiners."""
    given = study.config.user_study
    if given is None:
        return None
    track = given.track or study.tracks[0]
    pairs = [(one[0], one[1]) for one in given.pairs] if given.pairs else _default_pairs(study, track)
    return Compared(track, given.set or study.scored_sets(track)[0], tuple(pairs)) if pairs else None


def _default_pairs(study: "Study", track: str) -> list[tuple[str, str]]:
    names = [one for one in study.config.evaluation.compared(track) if not study.config.refiners[one].negates]
    writers = {name: writer for name in names if (writer := study.writer(track, name))}
    last = [name for name, writer in writers.items() if writer.writes == "text"] or [
        name for name in names if name != "original"
    ]
    asking: Mapping[str, object] = {name: None for name in names if study.config.refiners[name].asks}
    against = dict.fromkeys(["original", *list(asking)[:1]])
    return [(last[-1], one) for one in against if one != last[-1]] if last else []
