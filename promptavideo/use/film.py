"""Film a prompt and what a booster made of it with one seed, and have the run's judges compare them."""

import json
import logging
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

if TYPE_CHECKING:
    from promptavideo.generators.base import GeneratorEntry

log = logging.getLogger(__name__)

SCORES = "scores.json"

GAP = 8
"""Pixels between two videos side by side."""


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


def unjudged(study: Study, generator: str) -> str:
    """Why what a generator films has no scores by the rewards of a run; empty if it has."""
    entry = _entry(study, generator)
    if any(study.config.models[one].spoken for one in entry.models):
        return ""
    strangers = [name for name, judge in study.judging(REWARDS, generator).items() if judge.MINIATURE]
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


def look(study: Study, generator: str, boosted: Boosted, seed: int) -> Look:
    """Film the original prompt and every variant with one seed, and judge them by the original prompt.

    What the run's store holds is filmed and judged already.

    Args:
        study: The run; its generators, judges and store.
        generator: Name of the one that films.
        boosted: The prompt and its texts.
        seed: From which, with the prompt, the videos' seed follows: with that of the run it is that of its tables.

    Raises:
        InputError: A model is missing and cannot be fetched, a device is missing or too small, or a text is refused.
        ScoreError: A video cannot be judged.
    """
    from promptavideo import online
    from promptavideo.judges import load_judges
    from promptavideo.results import store_of
    from promptavideo.totals import Scale, total

    entry, said = _entry(study, generator), unjudged(study, generator)
    of_video = video_seed(seed, boosted.prompt_id, 0)
    shots = [Shot(boosted.prompt, None, of_video)]
    shots += [Shot(one.text, one.negative, of_video) for one in boosted.variants]
    prompts = [boosted.prompt] * len(shots)
    with chdir(study.root):
        store = store_of(study, generator)
        store.folder = store.folder.resolve()
        films = entry.load(generator, [_model(study, one) for one in entry.models], store.work)
        videos = online.film(prompts, shots, films, store)
        scores: list[dict[str, float] | None] = [None] * len(shots)
        totals: list[float | None] = [None] * len(shots)
        if said:
            log.warning("%s", said)
        else:
            entries, objective = study.judging(REWARDS, generator), study.objective(generator)
            for judge in entries.values():
                for model in judge.models:
                    _model(study, model)
            judges = load_judges(entries, Path(study.layout.models))
            table = online.judge(prompts, shots, films, judges, objective, store)
            scores = [{str(name): float(value) for name, value in row.items()} for row in table.to_dict("records")]
            for metric in objective:
                table[metric.five] = table[metric.name] * metric.to_five
            rule = study.config.preference
            scale: Scale = "raw" if rule.rule == "authors" else "five"
            totals = [float(one) for one in total(table, objective, rule.chosen.weights, scale)]
    original = Variant(boosted.prompt)
    shown = [Shown(*one) for one in zip((original, *boosted.variants), videos, scores, totals, strict=True)]
    return Look(generator, study.medium(generator), boosted, of_video, shown[0], tuple(shown[1:]), said)


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
    from promptavideo.viewing import VIEWED, Size, fitted, write_copy

    size, suffix = Size(256, 1920), VIEWED[look.medium]
    clips = {
        "original": read_file(look.original.video, look.medium),
        "refined": read_file(look.refined[look.best].video, look.medium),
    }
    for name, clip in clips.items():
        write_copy(clip, look.medium, folder / f"{name}{suffix}", size)
    left, right = (fitted(clip.frames, size) for clip in clips.values())
    frames = min(len(left), len(right))
    gap = np.full((frames, left.shape[1], GAP, 3), 255, np.uint8)
    both = replace(clips["original"], frames=np.concatenate([left[:frames], gap, right[:frames]], axis=2))
    write_copy(both, look.medium, folder / f"side-by-side{suffix}", Size(256, 2 * size.most + GAP))
    write_text(folder / SCORES, json.dumps(as_record(look), indent=2, ensure_ascii=False) + "\n")
    return folder


def as_record(look: Look) -> dict[str, Any]:
    """All that a look says, as JSON can hold it."""

    def said(one: Shown) -> dict[str, Any]:
        negative = {"negative": one.variant.negative} if one.variant.negative else {}
        return {"text": one.variant.text, **negative, "scores": one.scores, "total": one.total}

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
    names = [*look.original.scores]
    rows = [("original", look.original)]
    marked = len(look.refined) > 1
    rows += [
        (f"refined {place + 1}{' (kept)' if place == look.best else ''}" if marked else "refined", one)
        for place, one in enumerate(look.refined)
    ]
    width = max(len(name) for name, _ in rows)
    table = [f"{'':{width}}  {'  '.join(f'{name:>6}' for name in names)}   total"]
    for name, one in rows:
        values = "  ".join(f"{(one.scores or {})[metric]:6.2f}" for metric in names)
        table.append(f"{name:{width}}  {values}  {one.total:6.2f}")
    return table


def _entry(study: Study, generator: str) -> "GeneratorEntry":
    if generator not in study.config.generators:
        known = ", ".join(study.config.generators)
        raise InputError(f"there is no generator {generator!r} in the run's configuration; known are {known}")
    found: GeneratorEntry = study.config.generators[generator]
    return found


def _model(study: Study, name: str) -> Path:
    return workspace.ensure(name, study.config.models, (study.root / study.layout.models).resolve(), study.root)
