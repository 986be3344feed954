"""One run of the suite, before anything runs: its tracks, batches and boosters, and what each needs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo import published
from promptavideo.batches import Batch, Booster, Draw, Originals, Pilot, Refine, Round
from promptavideo.config import Config
from promptavideo.errors import InputError, require
from promptavideo.judges.base import JudgeEntry
from promptavideo.layout import REWARDS, SHARED, BatchFiles, BoosterFiles, Layout
from promptavideo.metrics import Metric
from promptavideo.prompts import count_prompts
from promptavideo.shards import part, shard_count, shard_names

if TYPE_CHECKING:
    from promptavideo.vbench.plan import VBenchPlan


def pattern(names: Iterable[str]) -> str:
    """A regular expression for some names."""
    return "|".join(re.escape(name) for name in sorted(set(names), key=lambda name: (-len(name), name)))


class Study:
    """Answers questions about a checked configuration."""

    def __init__(self, config: Config, root: Path = Path()) -> None:
        """Take a configuration and the folder that its files are relative to."""
        self.config, self.root = config, root
        self.layout = Layout(config.store)
        self.tracks = list(config.generators)
        self.homes = [SHARED, *self.tracks]
        """What owns boosters."""
        self._count = cache(lambda name: count_prompts(config.prompt_sets[name], root, name))
        self._made: dict[tuple[str, str], Booster] = {}
        self.batches = cache(self._batches)
        self.named = cache(self._named)

    # Boosters

    def booster(self, reference: str, track: str) -> Booster:
        """A booster by its name in a track, or as TRACK/NAME.

        Raises:
            InputError: There is no such booster.
        """
        owner, _, name = reference.rpartition("/")
        entry = self.config.boosters.get(name)
        if entry is None or (owner and owner not in self.tracks):
            raise InputError(f"there is no booster {reference!r}; known are {', '.join(self.config.boosters)}")
        home = SHARED if entry.tracks else owner or track
        if home not in self.homes:
            raise InputError(f"there is no track {home!r} with a booster {name!r}; known are {', '.join(self.tracks)}")
        if (home, name) not in self._made:
            start = self.booster(entry.start, home) if entry.start else None
            drawn = entry.drawn
            self._made[home, name] = Booster(
                name,
                home,
                entry,
                tuple(entry.tracks or [home]),
                start,
                self.booster(drawn.draw, home) if drawn and drawn.draw else start if drawn else None,
                (drawn.prompts or self.config.preference.prompts) if drawn else self.config.evolution.prompts,
            )
        return self._made[home, name]

    def owned(self, home: str, name: str) -> Booster:
        """A booster by its owner, a track or `SHARED`.

        Raises:
            InputError: It has none of that name.
        """
        return self.booster(name, "" if home == SHARED else home)

    def files_of(self, booster: Booster) -> BoosterFiles:
        """The files of a booster."""
        return self.layout.booster(booster.home, booster.name)

    def cards(self, boosters: Iterable[Booster]) -> list[str]:
        """The cards of some boosters and of those that they go on from, each once."""
        chains = [one for booster in boosters for one in booster.chain]
        return list(dict.fromkeys(self.files_of(one).card for one in chains))

    def writer(self, track: str, refiner: str) -> Booster | None:
        """The booster behind a refiner in a track, if one is."""
        reference = self.config.refiners[refiner].drawn_from
        return self.booster(reference, track) if reference else None

    def boosters(self, track: str) -> list[Booster]:
        """The boosters that learn from a track, in order; none if its tables compare no booster of its own."""
        writers = [self.writer(track, refiner) for refiner in self.config.evaluation.compared(track)]
        if not any(one and any(track in link.tracks for link in one.chain) for one in writers):
            return []
        every = (self.booster(name, track) for name in self.config.boosters)
        return [one for one in every if track in one.tracks]

    def sources(self, booster: Booster) -> list[str]:
        """The tables that a booster learns from, one a track."""
        if booster.drawing is None:
            return [self.layout.pairs(track) for track in booster.tracks]
        return [self.layout.batch(track, booster.name).triples for track in booster.tracks]

    # Batches

    def batch(self, track: str, name: str) -> Batch:
        """A batch by its name.

        Raises:
            InputError: There is no such track or batch; the message lists what there is.
        """
        if track not in self.tracks:
            raise InputError(f"there is no track {track!r}; known are {', '.join(self.tracks)}")
        found = self.named(track)
        if name not in found:
            raise InputError(f"{track} has no batch {name!r}; known are {', '.join(found)}")
        return found[name]

    def _named(self, track: str) -> dict[str, Batch]:
        """Every batch that a track could have, by its name."""
        return {one.name: one for one in (*self.every_of(track), self.pilot(track))}

    def rounds(self, track: str) -> list[Batch]:
        """The rounds of a track's evolution."""
        evolution = self.config.evolution
        return [
            self._of(track, f"evolution/round-{number}", evolution.prompts, Round(number) if number else Originals())
            for number in range(evolution.rounds + 1)
        ]

    def before(self, batch: Batch) -> list[Batch]:
        """The rounds of evolution before one."""
        return self.rounds(batch.track)[: batch.source.number] if isinstance(batch.source, Round) else []

    def pilot(self, track: str) -> Batch:
        """What measures how long work takes."""
        return self._of(track, "pilot", self.config.evolution.prompts, Pilot())

    def candidates(self, track: str, booster: Booster) -> Batch:
        """What a booster has drawn in a track to learn from."""
        return self._of(track, booster.name, booster.prompts, Draw(booster))

    def evaluation(self, track: str, set_: str, refiner: str) -> Batch:
        """A refiner's texts of an evaluation set."""
        prompts = self.config.evaluation.sets[set_].prompts
        return self._of(track, f"evaluation/{set_}/{refiner}", prompts, Refine(set_, refiner))

    def evaluations(self, track: str) -> list[Batch]:
        """All evaluations of a track."""
        sets, refiners = self.config.evaluation.sets, self.config.evaluation.compared(track)
        return [self.evaluation(track, name, refiner) for name in sets for refiner in refiners]

    def every(self, source: Any) -> list[Batch]:
        """All batches whose texts come from some kinds of source."""
        batches = [one for track in self.tracks for one in self.named(track).values()]
        return [one for one in batches if isinstance(one.source, source)]

    def _batches(self, track: str) -> list[Batch]:
        """What a generator films for its tables, in the order of the method."""
        boosters = self.boosters(track)
        rounds = self.rounds(track) if boosters else []
        drawn = [self.candidates(track, one) for one in boosters if one.drawing]
        return [*rounds, *drawn, *self.evaluations(track)]

    def every_of(self, track: str) -> list[Batch]:
        """What a generator could film, whether or not its tables need it."""
        every = [self.booster(name, track) for name in self.config.boosters]
        drawn = [self.candidates(track, one) for one in every if one.drawing and track in one.tracks]
        sets, refiners = self.config.evaluation.sets, self.config.refiners
        evaluations = [self.evaluation(track, name, refiner) for name in sets for refiner in refiners]
        return [*self.rounds(track), *drawn, *evaluations]

    def _of(self, track: str, name: str, prompts: str, source: Any) -> Batch:
        config = self.config
        match source:
            case Originals():
                each = config.evolution.replicates
            case Round():
                each = config.evolution.variants * config.evolution.replicates
            case Draw():
                each = config.preference.candidates
            case Refine():
                each = config.evaluation.sets[source.set].replicates
            case _:
                each = 1
        return Batch(track, name, track, prompts, source, each, self._judges(source))

    # Judges

    def _judges(self, source: Any) -> tuple[str, ...]:
        if not isinstance(source, Refine):
            return (REWARDS, *(() if isinstance(source, Pilot) else self.config.thresholds_outside()))
        entry = self.config.evaluation.sets[source.set]
        own = (REWARDS,) if entry.rewards else ()
        reporting = (name for name, one in self.config.reporters.items() if one.on is None or source.set in one.on)
        return (*own, *reporting) if entry.rewards else own

    def judging(self, judges: str) -> Mapping[str, JudgeEntry]:
        """The judges of a group.

        Raises:
            InputError: There is no such group.
        """
        if judges == REWARDS:
            return self.config.rewards
        if judges not in self.config.reporters:
            known = ", ".join((REWARDS, *self.config.reporters))
            raise InputError(f"there are no judges {judges!r}; known are {known}")
        return {judges: self.config.reporters[judges]}

    def metrics(self, judges: str) -> list[Metric]:
        """What a group of judges fills, in the order of columns."""
        if judges == REWARDS:
            return list(self.config.objectives)
        return [metric for entry in self.judging(judges).values() for metric in entry.filled]

    def looks_at_videos(self, judges: str) -> bool:
        """Whether a group judges videos, and not only texts."""
        return any(entry.medium == "video" for entry in self.judging(judges).values())

    def threads(self, judges: str) -> int:
        """Cores that a group takes."""
        return max(getattr(entry, "threads", 1) for entry in self.judging(judges).values())

    @property
    def groups(self) -> list[str]:
        """All groups of judges."""
        return [REWARDS, *self.config.reporters]

    # How work is split

    def prompts(self, batch: Batch) -> int:
        """How many prompts a batch films, at most."""
        count = self._count(batch.prompts)
        return min(count, self.config.planning.pilot_prompts) if isinstance(batch.source, Pilot) else count

    def prompts_in(self, prompt_set: str) -> int:
        """How many prompts a set holds."""
        return self._count(prompt_set)

    def shards(self, batch: Batch) -> list[str]:
        """The names of a batch's filming jobs: a whole number of them for each scoring job."""
        scoring = len(self.scoring_shards(batch))
        return shard_names(scoring * -(-self._filming_shards(batch) // scoring))

    def scoring_shards(self, batch: Batch, judges: str = REWARDS) -> list[str]:
        """The names of the jobs in which a group of judges scores a batch; texts alone are one job."""
        if not self.looks_at_videos(judges):
            return shard_names(1)
        if self.config.score_minutes is None:
            return shard_names(self._filming_shards(batch))
        seconds = self.config.planning.seconds_per_score * batch.per_prompt
        size = max(1, int(60 * self.config.score_minutes / seconds))
        return shard_names(min(shard_count(self.prompts(batch), size), self._filming_shards(batch)))

    def scored_together(self, batch: Batch, shard: str) -> Sequence[str]:
        """The filming jobs whose videos a scoring job scores."""
        return part(self.shards(batch), shard)

    def _filming_shards(self, batch: Batch) -> int:
        config = self.config
        if config.shard_minutes is None:
            size = require(config.shard_size, "a checked configuration has shard_size or shard_minutes")
        else:
            seconds = config.generators[batch.generator].seconds_per_video * batch.per_prompt
            size = max(1, int(60 * config.shard_minutes / seconds))
        return shard_count(self.prompts(batch), size)

    # Files

    def files(self, batch: Batch) -> BatchFiles:
        """The files of a batch."""
        return self.layout.batch(batch.track, batch.name)

    def manifests(self, batch: Batch) -> list[str]:
        """The manifests of all videos of a batch."""
        return [self.files(batch).manifest(shard) for shard in self.shards(batch)]

    def writing(self, batch: Batch) -> list[str]:
        """The record of what wrote a batch's texts; operators of an evolution keep a ledger instead."""
        return [self.files(batch).writing] if isinstance(batch.source, Draw | Refine) else []

    def manifests_of(self, entries: Iterable[Any]) -> list[str]:
        """The records that the models of some entries are there, each once."""
        return list(dict.fromkeys(self.layout.manifest(model) for entry in entries for model in entry.models))

    @property
    def base(self) -> str:
        """The record that the boosters' base model is there."""
        return self.layout.manifest(self.config.booster.base)

    def source_record(self, batch: Batch) -> list[str]:
        """The record of the dataset behind a batch's prompts, if they are a slice of one."""
        source = self.config.prompt_sets[batch.prompts].source
        return [] if source is None else [self.layout.source_record(source)]

    # Prompt sets

    def apart(self, prompt_set: str) -> list[str]:
        """The sets to compare a set with once they are read, since planning does not see the captions of a source."""
        sets = self.config.prompt_sets
        return [
            learned
            for learned, test in self.config.apart
            if test == prompt_set and (sets[learned].source or sets[test].source)
        ]

    def evaluated_sources(self) -> list[str]:
        """The sources of captions that evaluation sets are slices of, each once."""
        sets = (self.config.prompt_sets[entry.prompts] for entry in self.config.evaluation.sets.values())
        return list(dict.fromkeys(entry.source for entry in sets if entry.source is not None))

    # Tables and figures

    def shown(self, track: str) -> dict[str, Batch]:
        """The contact sheet's columns: the original prompts, the first booster and the last, on the first set."""
        compared = self.config.evaluation.compared(track)
        boosters = [name for name in compared if self.writer(track, name)]
        chosen = dict.fromkeys(["original", *boosters[:1], *boosters[-1:]])
        first_set = next(name for name, entry in self.config.evaluation.sets.items() if entry.rewards)
        return {refiner: self.evaluation(track, first_set, refiner) for refiner in chosen}

    @cached_property
    def vbench(self) -> "VBenchPlan":
        """Who answers what is asked about VBench."""
        from promptavideo.vbench.plan import VBenchPlan

        return VBenchPlan(self)

    @cached_property
    def paper_sources(self) -> list[str] | None:
        """Where the paper's models come from, for tables at its scale; None at another one."""
        return published.sources_at(self.config.scale, self.root)

    @cached_property
    def reported(self) -> list[Metric]:
        """The metrics that only stand in tables."""
        return [metric for name in self.config.reporters for metric in self.metrics(name)]

    def compared(self, scope: str) -> list[str]:
        """The tracks of a table: all, or the one whose folder it is in."""
        owner = scope.removesuffix("tables").rstrip("/")
        return [owner] if owner else self.tracks
