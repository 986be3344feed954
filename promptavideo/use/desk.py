"""Answers of the demo: a prompt rewritten by some boosters, all of it filmed with one seed, as columns to compare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptavideo.additions import marked
from promptavideo.errors import UsageError
from promptavideo.prompts import load_prompt_set, prompt_id
from promptavideo.study import Study
from promptavideo.tables import Columns
from promptavideo.text import clean
from promptavideo.use import source
from promptavideo.use.boost import Boost, Boosted, Variant
from promptavideo.use.film import SIZE, Look, Shown, Studio, spoken
from promptavideo.video import Filmed
from promptavideo.viewing import VIEWED, write_copy

Open = Callable[[], source.Source]
"""Finds a booster on disk."""


@dataclass(frozen=True)
class Score:
    """One number of a column."""

    name: str
    value: float
    difference: float | None
    """To the original prompt's; None in its own column."""
    held_out: bool
    """Whether nobody trained on it."""


@dataclass(frozen=True)
class Column:
    """A text, its video and its scores."""

    title: str
    """The booster's name, or `original`."""
    text: Sequence[tuple[str, bool]]
    """In pieces, each with whether it was added to the prompt."""
    fault: str
    """Why the prompt itself is this text, where the booster's answer was no prompt."""
    video: Path | None
    """A copy that every browser plays; None before it is filmed."""
    scores: Sequence[Score]
    """The mean and the rewards on a 0-5 scale, then those held out, raw; none where nobody can judge."""


@dataclass(frozen=True)
class Answer:
    """What a page shows for a prompt."""

    prompt: str
    seed: int
    medium: Filmed
    columns: Sequence[Column]
    """The original prompt's, then one a booster."""
    unjudged: str
    """Why there are no scores, or an empty text."""


def boosters(study: Study, generator: str, given: Sequence[str] = ()) -> dict[str, Open]:
    """The boosters that a demo offers, by the name that it shows; the last one is asked first.

    Args:
        study: The run.
        generator: Name of the one that films: boosters that learned from it come last.
        given: Those that a user named, as `source.find` takes them; when there are none, all that the run has trained
            or else the one that comes with a checkout.

    Raises:
        InputError: One that was named is not there, or there is none at all.
    """
    if given:
        return {one.name: lambda one=one: one for one in map(source.find, given)}  # type: ignore[misc]
    found = {one.known_as: one for track in study.tracks for one in source.trained(study, track)}
    trained = sorted(found.values(), key=lambda one: generator in one.tracks)
    if trained:
        return {one.known_as: lambda one=one: source.of_run(study, one) for one in trained}  # type: ignore[misc]
    shipped = source.find(None)
    return {shipped.name: lambda: shipped}


class Desk:
    """Boosters, a generator and judges, each loaded once, for any number of prompts."""

    def __init__(
        self, study: Study, generator: str, offered: Mapping[str, Open], folder: Path, loaded: int = 3
    ) -> None:
        """Load the generator; a booster loads when it is first asked.

        Args:
            study: The run.
            generator: Name of the one that films.
            offered: The boosters, by name.
            folder: Where copies of videos go.
            loaded: Boosters that stay in memory, the last ones that were asked.

        Raises:
            InputError: There is no such generator, or a model or a device is missing.
        """
        self.study, self.offered, self.folder, self._most = study, offered, folder, loaded
        self._studio = Studio(study, generator)
        config, objective = study.config, study.objective(generator)
        self._averaged = Columns(config.objectives, config.evaluation.average).with_objective(objective).average
        self._loaded: dict[str, Boost] = {}

    @property
    def generator(self) -> str:
        """The name of what films."""
        return self._studio.generator

    @property
    def spoken(self) -> bool:
        """Whether it films the miniature's world only."""
        return spoken(self.study, self._studio.generator)

    def examples(self, count: int = 4) -> list[str]:
        """Some prompts of the first evaluation set that is a file."""
        config = self.study.config
        for one in config.evaluation.sets.values():
            entry = config.prompt_sets[one.prompts]
            if entry.file:
                prompts = load_prompt_set(one.prompts, entry, self.study.root)["prompt"]
                return [clean(prompt) for prompt in prompts[:count]]
        return []

    def warm(self) -> None:
        """Load the booster that a page asks first, the last one; errors as of `write`."""
        self._booster([*self.offered][-1])

    def write(self, prompt: str, names: Sequence[str], seed: int) -> Boosted:
        """One text of each booster.

        A booster computes one row at a time, which takes a part of the time of a run's calls; sums that round
        otherwise give another text than the run's tables now and then.

        Args:
            prompt: Checked, see `use.prompts`.
            names: Of the boosters.
            seed: Of the texts.

        Raises:
            UsageError: There is no such booster.
            InputError: A booster cannot be loaded, or the prompt is too long for it.
        """
        texts: list[Variant] = []
        for name in names:
            boost = self._booster(name)
            boost.seed = seed
            texts += boost.write([prompt])[0].variants
        return Boosted(prompt, prompt_id(prompt), tuple(texts))

    def look(self, boosted: Boosted, seed: int) -> Look:
        """Film the prompt and its texts with one seed, and judge them; errors as of `Studio.look`."""
        return self._studio.look(boosted, seed)

    def written(self, boosted: Boosted, names: Sequence[str], seed: int) -> Answer:
        """Texts without videos yet, as columns."""
        return self._answer(boosted, names, seed, [None] * (1 + len(names)), "")

    def filmed(self, look: Look, names: Sequence[str], seed: int) -> Answer:
        """All of it, as columns; the copies of the videos are in the desk's folder then."""
        return self._answer(look.boosted, names, seed, [look.original, *look.refined], look.unjudged)

    def _answer(
        self, boosted: Boosted, names: Sequence[str], seed: int, shown: Sequence[Shown | None], unjudged: str
    ) -> Answer:
        variants = (Variant(boosted.prompt), *boosted.variants)
        reference = {name: value for name, value, _ in self._scores(shown[0])}
        columns = [
            Column(
                title=title,
                text=marked(variant.text, boosted.prompt),
                fault=variant.fault,
                video=self._copy(one.video) if one else None,
                scores=[
                    Score(name, value, value - reference[name] if place else None, held_out)
                    for name, value, held_out in self._scores(one)
                ],
            )
            for place, (title, variant, one) in enumerate(zip(("original", *names), variants, shown, strict=True))
        ]
        return Answer(clean(boosted.prompt), seed, self._studio.medium, columns, unjudged)

    def _scores(self, one: Shown | None) -> list[tuple[str, float, bool]]:
        """The mean and the rewards on a 0-5 scale, then those held out, each with whether it is."""
        if one is None or one.scores is None:
            return []
        objective = self.study.objective(self._studio.generator)
        fives = {metric.name: one.scores[metric.name] * metric.to_five for metric in objective}
        mean = sum(fives[name] for name in self._averaged) / len(self._averaged)
        rewards = [("avg", mean, False), *((name, value, False) for name, value in fives.items())]
        return rewards + [(name, value, True) for name, value in one.held_out.items()]

    def _copy(self, video: Path) -> Path:
        """A copy by the name of the video in the store, which is a digest."""
        from promptavideo.store import read_file

        medium = self._studio.medium
        target = self.folder / f"{video.stem}{VIEWED[medium]}"
        if not target.is_file():
            write_copy(read_file(video, medium), medium, target, SIZE)
        return target

    def _booster(self, name: str) -> Boost:
        if name not in self.offered:
            raise UsageError(f"there is no booster {name!r}; known are {', '.join(self.offered)}")
        boost = self._loaded.pop(name, None)
        if boost is None:
            while len(self._loaded) >= self._most:
                del self._loaded[next(iter(self._loaded))]
            boost = Boost(self.offered[name](), rows=1)
        self._loaded[name] = boost
        return boost
