"""One run of the suite, before anything runs: its tracks, batches and boosters, and what each needs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo import published
from promptavideo.batches import Batch, Booster, Draw, Originals, Pilot, Refine, Round
from promptavideo.boosters.config import BoosterConfig
from promptavideo.config import Config
from promptavideo.errors import InputError, require
from promptavideo.judges.base import JudgeEntry
from promptavideo.layout import REWARDS, SHARED, BatchFiles, BoosterFiles, Layout
from promptavideo.metrics import Metric
from promptavideo.miniature.dialects import DialectName
from promptavideo.prompts import count_prompts
from promptavideo.rating.config import compared
from promptavideo.rating.folder import files as vote_files
from promptavideo.shards import part, shard_count, shard_names
from promptavideo.templates import for_medium
from promptavideo.video import Filmed

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
                self.booster(drawn.of, home) if drawn and drawn.of else None,
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

    def dialect(self, generator: str) -> DialectName:
        """Whose quality words a generator is measured by: those of its miniature model, if it has one."""
        models = (self.config.models[name] for name in self.config.generators[generator].models)
        return next((model.spoken for model in models if model.spoken), "plain")

    def template(self, track: str) -> str:
        """The file of the instruction by which a track's prompts evolve."""
        return for_medium(self.config.evolution.template, self.medium(track), self.root)

    def settings_of(self, booster: Booster) -> BoosterConfig:
        """The settings of a booster, with the instruction of what it writes and of what its generators film."""
        settings = self.config.booster.writing(booster.writes)
        media = {self.medium(track) for track in booster.tracks}
        instruction = for_medium(settings.instruction, "image" if media == {"image"} else "video", self.root)
        return settings.model_copy(update={"instruction": instruction})

    def read_by(self, refiner: str, track: str) -> list[str]:
        """The files that a refiner reads when it writes for a track."""
        return self.config.refiners[refiner].files_for(self.medium(track), self.root)

    def instruction(self, refiner: str) -> str | None:
        """The file of a refiner's instruction that is read out of a published one, if it is."""
        return self.layout.instruction(refiner) if self.config.refiners[refiner].published else None

    def boosters(self, track: str) -> list[Booster]:
        """The boosters that learn from a track, in order; none if its tables compare none of these.

        Of the track's own, all if its tables compare one of them; of the shared ones, all.
        """
        writers = [self.writer(track, refiner) for refiner in self.config.evaluation.compared(track)]
        homes = {link.home for one in writers if one for link in one.chain if track in link.tracks}
        every = (self.booster(name, track) for name in self.config.boosters)
        return [one for one in every if track in one.tracks and one.home in {*homes, SHARED}] if homes else []

    def sources(self, booster: Booster) -> list[str]:
        """The tables that a booster learns from, each once."""
        if booster.drawing is not None:
            return [self.layout.batch(track, booster.name).triples for track in booster.tracks]
        own = self.layout.negatives if booster.writes == "negative" else self.layout.pairs
        sources = ((track, booster.entry.pairs_for(track)) for track in booster.tracks)
        tables = (self.layout.pair_source(name) if name else own(track) for track, name in sources)
        return list(dict.fromkeys(tables))

    def released(self, booster: Booster) -> list[str]:
        """The sources of released pairs that a booster learns from, each once."""
        if booster.drawing is not None:
            return []
        return list(dict.fromkeys(filter(None, map(booster.entry.pairs_for, booster.tracks))))

    def evolves(self, track: str) -> bool:
        """Whether a booster learns from a track's evolution."""
        return any(one.drawing is None and not one.entry.pairs_for(track) for one in self.boosters(track))

    def learned_from(self, booster: Booster) -> list[Batch]:
        """The batches that were filmed for a booster: for those that it needs, then for itself, each once."""
        before = [one for one in (booster.start, booster.drawing) if one]
        behind = [batch for one in before for batch in self.learned_from(one)]
        return list(dict.fromkeys([*behind, *self.own_batches(booster)]))

    def own_batches(self, booster: Booster) -> list[Batch]:
        """The batches that a booster itself learns from: its candidates, or the rounds of the evolution."""
        if booster.drawing:
            return [self.candidates(track, booster) for track in booster.tracks]
        return [batch for track in booster.tracks for batch in self.rounds(track)]

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

    def below(self, batch: Batch) -> Batch | None:
        """The evaluation from whose texts a batch's refiner goes on, if it does."""
        if not isinstance(batch.source, Refine):
            return None
        other = self.config.refiners[batch.source.refiner].goes_on_from
        return self.evaluation(batch.track, batch.source.set, other) if other else None

    def evaluations(self, track: str) -> list[Batch]:
        """All evaluations of a track."""
        refiners = self.config.evaluation.compared(track)
        return [self.evaluation(track, name, refiner) for name in self.sets(track) for refiner in refiners]

    def sets(self, track: str) -> list[str]:
        """The evaluation sets that a track films: those of its medium, of images not those for VBench alone."""
        medium, entries = self.medium(track), self.config.evaluation.sets.items()
        return [name for name, one in entries if one.filmed_by(medium) and (one.rewards or medium == "video")]

    def scored_sets(self, track: str) -> list[str]:
        """Those of them that the rewards score."""
        return [name for name in self.sets(track) if self.config.evaluation.sets[name].rewards]

    def every(self, source: Any) -> list[Batch]:
        """All batches whose texts come from some kinds of source."""
        batches = [one for track in self.tracks for one in self.named(track).values()]
        return [one for one in batches if isinstance(one.source, source)]

    def _batches(self, track: str) -> list[Batch]:
        """What a generator films for its tables, in the order of the method."""
        boosters = self.boosters(track)
        rounds = self.rounds(track) if self.evolves(track) else []
        drawn = [self.candidates(track, one) for one in boosters if one.drawing]
        return [*rounds, *drawn, *self.evaluations(track)]

    def every_of(self, track: str) -> list[Batch]:
        """What a generator could film, whether or not its tables need it."""
        every = [self.booster(name, track) for name in self.config.boosters]
        drawn = [self.candidates(track, one) for one in every if one.drawing and track in one.tracks]
        refiners = self.config.refiners
        evaluations = [self.evaluation(track, name, refiner) for name in self.sets(track) for refiner in refiners]
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
        return Batch(track, name, track, prompts, source, each, self._judges(track, source))

    # Judges

    def _judges(self, track: str, source: Any) -> tuple[str, ...]:
        if not isinstance(source, Refine):
            return (REWARDS, *(() if isinstance(source, Pilot) else self.config.thresholds_outside()))
        entry = self.config.evaluation.sets[source.set]
        own = (REWARDS,) if entry.rewards else ()
        reporting = (
            name
            for name, one in self.config.reporters.items()
            if (one.on is None or source.set in one.on) and one.of(self.medium(track))
        )
        return (*own, *reporting) if entry.rewards else own

    def medium(self, track: str) -> Filmed:
        """What a track films."""
        return self.config.generators[track].filmed

    def objective(self, track: str) -> list[Metric]:
        """The metrics that select and train in a track: those of the objective that its medium can have, in order."""
        return self.config.objective_of(track)

    def judging(self, judges: str, track: str) -> Mapping[str, JudgeEntry]:
        """The judges of a group in a track, each with the metrics that the track's medium can have.

        Raises:
            InputError: There is no such group.
        """
        if judges == REWARDS:
            entries = {name: entry.of(self.medium(track)) for name, entry in self.config.rewards.items()}
            return {name: entry for name, entry in entries.items() if entry}
        if judges not in self.config.reporters:
            known = ", ".join((REWARDS, *self.config.reporters))
            raise InputError(f"there are no judges {judges!r}; known are {known}")
        entry = self.config.reporters[judges].of(self.medium(track))
        return {judges: entry} if entry else {}

    def metrics(self, judges: str, track: str) -> list[Metric]:
        """What a group of judges fills in a track, in the order of columns."""
        if judges == REWARDS:
            return self.objective(track)
        return [metric for entry in self.judging(judges, track).values() for metric in entry.filled]

    def readers(self, tracks: Iterable[str]) -> list[str]:
        """The records of what bounds the texts that are written for some tracks."""
        return [self.layout.reader(one) for one in tracks if self.config.generators[one].text_bound]

    def looks_at_videos(self, judges: str, track: str) -> bool:
        """Whether a group judges what is filmed, videos or images, and not only texts."""
        return any(entry.medium != "text" for entry in self.judging(judges, track).values())

    def threads(self, judges: str, track: str) -> int:
        """Cores that a group takes."""
        return max(getattr(entry, "threads", 1) for entry in self.judging(judges, track).values())

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
        if not self.looks_at_videos(judges, batch.track):
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

    def filmings(self, batch: Batch) -> list[str]:
        """The records of the jobs that filmed them."""
        return [self.files(batch).filming(shard) for shard in self.shards(batch)]

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

    def evaluated(self) -> list[str]:
        """The prompt sets that are tested on, each once."""
        return list(dict.fromkeys(entry.prompts for entry in self.config.evaluation.sets.values()))

    def evaluated_sources(self) -> list[str]:
        """The sources of captions that evaluation sets are slices of, each once."""
        sets = (self.config.prompt_sets[name] for name in self.evaluated())
        return list(dict.fromkeys(entry.source for entry in sets if entry.source is not None))

    # The user study

    @property
    def votes(self) -> list[str]:
        """The files that raters handed over, and the server's databases."""
        given = self.config.user_study
        return vote_files(Path(given.votes)) if given else []

    def study_videos(self) -> list[str]:
        """The texts and the manifests of the videos that the user study shows."""
        found = compared(self)
        if found is None:
            return []
        batches = [self.evaluation(found.track, found.set, name) for name in found.refiners]
        return [file for one in batches for file in (self.files(one).prompts, *self.manifests(one))]

    # Tables and figures

    def figures(self, track: str) -> list[str]:
        """A track's figures by name."""
        learned = [*(["evolution"] if self.evolves(track) else []), *(["training"] if self.boosters(track) else [])]
        return [*learned, "contact_sheet"]

    @property
    def galleried(self) -> list[Batch]:
        """What the gallery shows: the evaluations that the rewards score."""
        return [one for track in self.tracks for one in self.evaluations(track) if REWARDS in one.judges]

    def boosted(self, track: str) -> list[str]:
        """The refiners that a track is compared by whose texts a booster writes, in order."""
        compared = self.config.evaluation.compared(track)
        writers = {name: self.writer(track, name) for name in compared}
        return [name for name, one in writers.items() if one and one.writes == "text"]

    def unboosted(self, track: str) -> list[str]:
        """Those with texts of their own that no booster writes: original prompts, rewrites, chat models, files."""
        compared = self.config.evaluation.compared(track)
        return [
            name for name in compared if not self.writer(track, name) and not self.config.refiners[name].goes_on_from
        ]

    def one_shot(self, track: str) -> str | None:
        """The first of these that asks an operator, if one does."""
        return next((name for name in self.unboosted(track) if self.config.refiners[name].asks), None)

    def shown(self, track: str) -> dict[str, Batch]:
        """The contact sheet's columns: the original prompts, the first booster and the last, on the first set."""
        compared = self.config.evaluation.compared(track)
        boosters = [name for name in compared if self.writer(track, name)]
        chosen = dict.fromkeys(["original", *boosters[:1], *boosters[-1:]])
        return {refiner: self.evaluation(track, self.scored_sets(track)[0], refiner) for refiner in chosen}

    @staticmethod
    def place(batch: Batch) -> str:
        """The track and set of an evaluation, for people."""
        assert isinstance(batch.source, Refine)
        return f"{batch.track} on {batch.source.set}"

    def played(self, track: str) -> dict[str, Batch]:
        """What the report plays of a track on its first set: the original prompts, the one-shot rewrite if there is
        one, and the last booster; nothing without a booster."""
        boosters, one_shot = self.boosted(track)[-1:], self.one_shot(track)
        chosen = ["original", *([one_shot] if one_shot else []), *boosters] if boosters else []
        return {refiner: self.evaluation(track, self.scored_sets(track)[0], refiner) for refiner in chosen}

    @cached_property
    def qualitative(self) -> dict[str, Batch]:
        """What the figure of videos shows, by refiner: of one track and set."""
        wanted = self.config.qualitative
        track = wanted.track or self.tracks[0]
        boosters, one_shot = self.boosted(track), self.one_shot(track)
        usual = ["original", *([one_shot] if one_shot else []), *boosters[:1], *boosters[-1:]]
        set_ = wanted.set or self.scored_sets(track)[0]
        return {refiner: self.evaluation(track, set_, refiner) for refiner in wanted.refiners or dict.fromkeys(usual)}

    @cached_property
    def ranked(self) -> tuple[Batch, Batch] | None:
        """By whose gain the figure of videos chooses its prompts: the last booster, or else the last refiner, and the
        original prompts; None if nothing is compared with them."""
        shown = next(iter(self.qualitative.values()))
        assert isinstance(shown.source, Refine)
        compared = [name for name in self.unboosted(shown.track) if name != "original"]
        last = (self.boosted(shown.track) or compared)[-1:]
        of, *rest = [self.evaluation(shown.track, shown.source.set, name) for name in ("original", *last)]
        return (rest[0], of) if rest else None

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
        return [metric for entry in self.config.reporters.values() for metric in entry.filled]

    def compared(self, scope: str) -> list[str]:
        """The tracks of a table: all, or the one whose folder it is in."""
        owner = scope.removesuffix("tables").rstrip("/")
        return [owner] if owner else self.tracks
