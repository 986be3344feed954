"""Film a prompt and what a booster made of it with one seed, and have the run's judges compare them."""

import json
import logging
from collections.abc import Hashable, Mapping
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.errors import InputError
from promptavideo.layout import REWARDS
from promptavideo.reading import Fits, Reader
from promptavideo.seeds import video_seed
from promptavideo.shots import Shot
from promptavideo.study import Study
from promptavideo.use import workspace
from promptavideo.use.boost import Boosted, Variant
from promptavideo.video import Filmed
from promptavideo.viewing import VIEWED, Size, fitted, write_copy

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.generators.base import GeneratorEntry

log = logging.getLogger(__name__)

SCORES = "scores.json"

GAP = 8
"""Pixels between two videos side by side."""

SIZE = Size(256, 1920)
"""Of the copies that people look at."""

Said = tuple[dict[str, float] | None, float | None, dict[str, float]]
"""Raw rewards, their weighted sum, and metrics on which nobody trained."""


@dataclass(frozen=True)
class Shown:
    """One text, its video and what the judges say of it."""

    variant: Variant
    video: Path
    """In the store of the run."""
    scores: dict[str, float] | None
    """Raw metrics of the objective by name; None where nobody can judge it."""
    total: float | None
    """What selects: their sum, weighted as in the run's preference data."""
    held_out: dict[str, float]
    """Metrics of judges on which nobody trained, by name."""


@dataclass(frozen=True)
class Look:
    """The original prompt and a booster's texts, filmed with one seed."""

    generator: str
    medium: Filmed
    boosted: Boosted
    seed: int
    """Of all videos."""
    original: Shown
    refined: tuple[Shown, ...]
    unjudged: str
    """Why there are no scores; empty if there are."""

    @property
    def best(self) -> int:
        """The place of the text that the judges like best, the first of equals; 0 without scores."""
        totals = [one.total for one in self.refined if one.total is not None]
        return totals.index(max(totals)) if totals else 0

    @property
    def kept(self) -> Variant:
        """That text."""
        return self.refined[self.best].variant


def check(study: Study, generator: str, choosing: bool = False) -> None:
    """Check, before anything is loaded, that a generator is there and, if judges must choose, that they can.

    Raises:
        InputError: It is not, or they cannot.
    """
    _entry(study, generator)
    said = unjudged(study, generator)
    if choosing and said:
        raise InputError(f"--best-of: nobody can choose: {said}; leave it out, or give the run other judges")


def spoken(study: Study, generator: str) -> bool:
    """Whether a generator films the miniature's world."""
    return any(study.config.models[one].spoken for one in _entry(study, generator).models)


def unjudged(study: Study, generator: str) -> str:
    """Why what a generator films has no scores by the rewards of a run; empty if it has."""
    strangers = _strangers(study, generator, REWARDS)
    if not strangers:
        return ""
    return (
        f"the run's judges ({', '.join(strangers)}) understand the miniature's world only, and {generator} films "
        "another, so there are no scores"
    )


def reads(study: Study, generator: str) -> Fits:
    """Whether a text fits what a generator's encoder reads.

    Raises:
        InputError: There is no such generator, its model cannot be fetched, or nothing says what it reads.
    """
    entry = _entry(study, generator)
    reader: Reader | None = None
    if entry.text_bound:
        reader = entry.reader(_model(study, entry.models[0]))
    if reader is None:
        raise InputError(f"--max-tokens-of {generator}: nothing says how many tokens of a text it reads; leave it out")
    return reader.fits


class Studio:
    """A generator and the judges of a run, loaded: they film and compare any number of prompts."""

    def __init__(self, study: Study, generator: str) -> None:
        """Load the generator; the judges load when they first look.

        Args:
            study: The run; its generators, judges and store.
            generator: Name of the one that films.

        Raises:
            InputError: There is no such generator, or a model or a device is missing.
        """
        from promptavideo.judges import load_judges
        from promptavideo.results import store_of

        entry = _entry(study, generator)
        self.study, self.generator, self.unjudged = study, generator, unjudged(study, generator)
        self.medium = study.medium(generator)
        with chdir(study.root):
            self._store = store_of(study, generator)
            self._store.folder = self._store.folder.resolve()
            self._films = entry.load(generator, [_model(study, one) for one in entry.models], self._store.work)
            groups = [] if self.unjudged else [REWARDS, *_held_out(study, generator)]
            entries = {name: judge for group in groups for name, judge in study.judging(group, generator).items()}
            for judge in entries.values():
                for model in judge.models:
                    _model(study, model)
            self._judges = load_judges(entries, (study.root / study.layout.models).resolve())
            self._metrics = [metric for group in groups for metric in study.metrics(group, generator)]

    def look(self, boosted: Boosted, seed: int) -> Look:
        """Film the original prompt and every variant with one seed, and judge them by the original prompt.

        What the run's store holds is filmed and judged already.

        Args:
            boosted: The prompt and its texts.
            seed: From which, with the prompt, the videos' seed follows: with that of the run it is that of its tables.

        Raises:
            InputError: A text is refused, or a device is too small.
            ScoreError: A video cannot be judged.
        """
        from promptavideo import online

        of_video = video_seed(seed, boosted.prompt_id, 0)
        shots = [Shot(boosted.prompt, None, of_video)]
        shots += [Shot(one.text, one.negative, of_video) for one in boosted.variants]
        prompts = [boosted.prompt] * len(shots)
        with chdir(self.study.root):
            videos = online.film(prompts, shots, self._films, self._store)
            if self.unjudged:
                log.warning("%s", self.unjudged)
                said: list[Said] = [(None, None, {})] * len(shots)
            else:
                table = online.judge(prompts, shots, self._films, self._judges, self._metrics, self._store)
                said = self._scores(table)
        variants = (Variant(boosted.prompt), *boosted.variants)
        shown = [Shown(one, video, *scores) for one, video, scores in zip(variants, videos, said, strict=True)]
        return Look(self.generator, self.medium, boosted, of_video, shown[0], tuple(shown[1:]), self.unjudged)

    def _scores(self, table: "pd.DataFrame") -> list[Said]:
        """Of each row: the raw rewards, their weighted sum and what held-out judges say."""
        from promptavideo.totals import Scale, total

        objective = self.study.objective(self.generator)
        names = [metric.name for metric in objective]
        rewards, held_out = table[names].to_dict("records"), table.drop(columns=names).to_dict("records")
        for metric in objective:
            table[metric.five] = table[metric.name] * metric.to_five
        rule = self.study.config.preference
        scale: Scale = "raw" if rule.rule == "authors" else "five"
        totals = [float(one) for one in total(table, objective, rule.chosen.weights, scale)]
        return list(zip(map(_named, rewards), totals, map(_named, held_out), strict=True))


def folder_name(look: Look) -> str:
    """A folder's name that says nothing of the prompt but which one it is."""
    return f"{look.generator}-{look.boosted.prompt_id}-{look.seed}"


def write(look: Look, folder: Path) -> Path:
    """Write copies of both videos that every browser plays, one that shows them side by side, and all scores.

    Args:
        look: What was filmed.
        folder: Where to; files there of the same names are replaced.

    Returns:
        The folder.
    """
    import numpy as np

    from promptavideo.files import write_text
    from promptavideo.store import read_file

    suffix = VIEWED[look.medium]
    clips = {
        "original": read_file(look.original.video, look.medium),
        "refined": read_file(look.refined[look.best].video, look.medium),
    }
    for name, clip in clips.items():
        write_copy(clip, look.medium, folder / f"{name}{suffix}", SIZE)
    left, right = (fitted(clip.frames, SIZE) for clip in clips.values())
    frames = min(len(left), len(right))
    gap = np.full((frames, left.shape[1], GAP, 3), 255, np.uint8)
    both = replace(clips["original"], frames=np.concatenate([left[:frames], gap, right[:frames]], axis=2))
    write_copy(both, look.medium, folder / f"side-by-side{suffix}", Size(SIZE.least, 2 * SIZE.most + GAP))
    write_text(folder / SCORES, json.dumps(as_record(look), indent=2, ensure_ascii=False) + "\n")
    return folder


def as_record(look: Look) -> dict[str, Any]:
    """All that a look says, as JSON can hold it."""

    def said(one: Shown) -> dict[str, Any]:
        negative = {"negative": one.variant.negative} if one.variant.negative else {}
        held_out = {"held_out": one.held_out} if one.held_out else {}
        return {"text": one.variant.text, **negative, "scores": one.scores, "total": one.total, **held_out}

    return {
        "generator": look.generator,
        "prompt": look.boosted.prompt,
        "prompt_id": look.boosted.prompt_id,
        "seed": look.seed,
        "original": said(look.original),
        "variants": [said(one) for one in look.refined],
        "kept": look.best,
        **({"unjudged": look.unjudged} if look.unjudged else {}),
    }


def as_json(look: Look, folder: Path) -> str:
    """A look in one line, with its folder."""
    return json.dumps(as_record(look) | {"folder": str(folder)}, ensure_ascii=False)


def lines(look: Look) -> list[str]:
    """The scores for people, a line a text; none without scores."""
    if look.original.scores is None:
        return []
    names, held_out = [*look.original.scores], [*look.original.held_out]
    rows = [("original", look.original)]
    marked = len(look.refined) > 1
    rows += [
        (f"refined {place + 1}{' (kept)' if place == look.best else ''}" if marked else "refined", one)
        for place, one in enumerate(look.refined)
    ]
    width = max(len(name) for name, _ in rows)
    heads = [*names, "total", *(f"{name} (held out)" for name in held_out)]
    widths = [max(6, len(head)) for head in heads]
    table = ["  ".join([" " * width, *(f"{head:>{size}}" for head, size in zip(heads, widths, strict=True))])]
    for name, one in rows:
        values = [(one.scores or {})[metric] for metric in names]
        values += [one.total or 0.0, *(one.held_out[metric] for metric in held_out)]
        cells = (f"{value:{size}.2f}" for value, size in zip(values, widths, strict=True))
        table.append("  ".join([f"{name:{width}}", *cells]))
    return table


def _held_out(study: Study, generator: str) -> list[str]:
    """The judges of videos on which nobody trains, by name; a look downloads no model for them."""
    found, models = [], study.config.models
    for name in study.config.reporters:
        entries = study.judging(name, generator).values()
        there = all(
            models[one].kind == "local" or (study.root / study.layout.manifest(one)).is_file()
            for judge in entries
            for one in judge.models
        )
        if study.looks_at_videos(name, generator) and not _strangers(study, generator, name):
            if there:
                found.append(name)
            else:
                log.info("%s does not look at the videos, since its model was not fetched", name)
    return found


def _named(row: Mapping[Hashable, float]) -> dict[str, float]:
    """A row of metrics, as JSON can hold it."""
    return {str(name): float(value) for name, value in row.items()}


def _strangers(study: Study, generator: str, judges: str) -> list[str]:
    """The judges of a group that do not understand what a generator films."""
    if spoken(study, generator):
        return []
    return [name for name, judge in study.judging(judges, generator).items() if judge.MINIATURE]


def _entry(study: Study, generator: str) -> "GeneratorEntry":
    if generator not in study.config.generators:
        known = ", ".join(study.config.generators)
        raise InputError(f"there is no generator {generator!r} in the run's configuration; known are {known}")
    found: GeneratorEntry = study.config.generators[generator]
    return found


def _model(study: Study, name: str) -> Path:
    return workspace.ensure(name, study.config.models, (study.root / study.layout.models).resolve(), study.root)
