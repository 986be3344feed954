"""The whole configuration: every section put together, and every name in it checked against the others."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from promptavideo import registry
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig, Writes, accumulation
from promptavideo.boosters.trainers import Released, TrainerEntry, default_chain
from promptavideo.captions import PromptSource
from promptavideo.errors import InputError, named
from promptavideo.evolution import EvolutionConfig, PairRule
from promptavideo.gallery.config import GalleryConfig
from promptavideo.generators.base import TAKES_NEGATIVE
from promptavideo.layout import RESERVED, REWARDS
from promptavideo.metrics import Metric
from promptavideo.negatives import NegativesConfig
from promptavideo.operators.base import EVOLUTION_PLACEHOLDERS, REFINE_PLACEHOLDERS, read_template
from promptavideo.pairs import PairSource
from promptavideo.preference import AuthorsConfig, BestWorstConfig, PreferenceConfig
from promptavideo.probe import Reference
from promptavideo.prompts import PromptSet, check_disjoint, check_slices, check_styles, load_prompt_set
from promptavideo.qualitative import QualitativeConfig
from promptavideo.rating import config as rating
from promptavideo.resampling import BootstrapConfig
from promptavideo.settings import Added, Entry, Planning, Ref, Section, lay, number_in_text, origin, started_from
from promptavideo.templates import all_media
from promptavideo.totals import outside
from promptavideo.vbench.config import ABLATION, VBenchConfig, VBenchSet
from promptavideo.vbench.dimensions import SAMPLES
from promptavideo.video import Filmed

if TYPE_CHECKING:
    from promptavideo.generators.base import GeneratorEntry
    from promptavideo.judges.base import JudgeEntry
    from promptavideo.models import ModelEntry
    from promptavideo.operators.base import OperatorEntry
    from promptavideo.refiners.base import RefinerEntry

    AnyBooster = TrainerEntry
else:
    GeneratorEntry, JudgeEntry, ModelEntry, OperatorEntry, RefinerEntry = map(
        registry.union, ("generators", "judges", "models", "operators", "refiners")
    )
    AnyBooster = registry.union("trainers")

Name = str
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
"""Names become folders and wildcards, so they are lower case, without separators, and short."""

NAMED = (
    "models", "prompt_sources", "pair_sources", "prompt_sets", "generators", "judges", "operators", "refiners",
    "boosters",
)  # fmt: skip
"""Sections of named entries."""

READY = "resources/generators.yaml"
"""Ready entries, which others may be `like`."""

CALLED: dict[Writes, str] = {"text": "texts to film", "negative": "negative prompts"}
"""What boosters write, for people."""

TAKEN = {
    "generators": RESERVED,
    "judges": (REWARDS, "vbench", "videos"),
    "boosters": ("evolution", "evaluation", "pilot", "boosters", "tables", "figures", "card", "examples"),
}
"""Names that are folders of something else."""

COLUMNS = ("generator", "set", "refiner", "images", "mean", "gain", "p_value", "tokens_seen", "words")
"""What the table by styles has beside them, which therefore no style is called."""


class EvaluationSet(Section):
    """A prompt set to evaluate on."""

    prompts: Annotated[Name, Ref("prompt_sets")]
    """Name of the prompt set."""
    medium: Annotated[Filmed | None, Added()] = None
    """Generators of this medium alone film it; all do when absent."""
    replicates: int = Field(1, ge=1)
    """Videos a prompt, each with another seed."""
    styles: list[str] = Field(default=[])
    """The styles of its prompts, in the order of the columns of the table `hpsv2`, which compares the refiners of
    tracks of images by them; a judge must fill HPS."""
    rewards: bool = True
    """Score it by the rewards, for the VideoScore table."""
    vbench: VBenchSet | None = None
    """Judge it by VBench."""

    def filmed_by(self, medium: Filmed) -> bool:
        """Whether generators of a medium film it."""
        return self.medium in (None, medium)


class EvaluationConfig(Section):
    """What is compared, and on which prompts."""

    sets: dict[Name, EvaluationSet] = Field(min_length=1)
    refiners: Annotated[list[Name], Ref("refiners")] = Field(min_length=1)
    """The rows of each track's tables; `original` is among them, since gains are measured against it."""
    refiners_of: Annotated[dict[Name, list[Name]], Ref("refiners")] = Field(default={})
    """{track: refiners} of tracks that are compared with others than `refiners`."""
    also: Annotated[list[Name], Ref("refiners")] = Field(default=[])
    """Further rows of every track, behind those: a file over another one adds refiners without repeating its lists."""
    studies: list[Literal["convergence", "transfer"]] = Field(default=[])
    """Studies that the report shows too; each is a target of its own in any case."""
    average: list[Name] = Field(default=["VQ", "TC", "DD", "TVA", "FC"], min_length=1)
    """The metrics of the objective whose mean is `avg`; the paper's are VideoScore's."""
    bootstrap: BootstrapConfig = BootstrapConfig()

    def compared(self, track: Name) -> list[Name]:
        """The refiners of a track's table rows."""
        return [*self.refiners_of.get(track, self.refiners), *self.also]


class PlanningConfig(Section):
    """What runs are estimated with where nothing was measured yet. No result depends on it."""

    gpu_hour_price: float = Field(0.0, ge=0)
    """0: GPU time is not paid by the hour."""
    currency: str = "USD"
    """Of all prices in the configuration."""
    reference: Reference | None = None
    """What the probe takes on the machine that the seconds below and `seconds_per_video` are of. A run on another one
    first probes it, and scales them. Without it they are taken as they are."""
    seconds_per_job: float = Field(3.0, gt=0)
    """Python's start and imports."""
    seconds_per_load: float = Field(10.0, gt=0)
    """The same of a job that films, judges, draws or trains, with its model."""
    seconds_per_score: float = Field(1.0, gt=0)
    """All rewards of one video."""
    seconds_per_judgement: float = Field(1.0, gt=0)
    """One dimension of VBench on one video."""
    seconds_per_text: float = Field(1.0, gt=0)
    """One answer of a booster."""
    seconds_per_example: float = Field(1.0, gt=0)
    """One pair in one epoch of SFT."""
    seconds_per_triple: float = Field(1.0, gt=0)
    """One triple in one epoch of DPO."""
    request_tokens: int = Field(1500, ge=1)
    """Instruction of one request to an operator, with its history."""
    answer_tokens: int = Field(400, ge=1)
    """Its answer."""
    pilot_prompts: int = Field(8, ge=1)
    """Prompts that `snakemake pilot` films and scores."""


class Config(Section):
    """One run of the suite."""

    scale: Literal["laptop", "paper"]
    """Tables made at laptop scale say so."""
    seed: int = Field(ge=0, lt=2**31)
    """Of everything random: the same seed gives the same prompts, videos and tables."""
    store: Annotated[str, Planning()] = Field("store", min_length=1)
    """Folder of videos, cached scores, answers that were paid for and trainings; it outlives killed jobs."""
    shard_size: Annotated[int | None, Planning()] = Field(None, ge=1)
    """Prompts that one filming job takes; no result depends on it."""
    shard_minutes: Annotated[float | None, Planning()] = Field(None, gt=0)
    """Instead of `shard_size`: about how long a filming job takes, by the generator's `seconds_per_video`."""
    score_minutes: Annotated[float | None, Planning()] = Field(None, gt=0)
    """About how long a scoring job takes, by `planning.seconds_per_score`: it scores the shards of several filming
    jobs, since loading judges may take longer than scoring one shard. Absent: those of one."""
    models: dict[Name, ModelEntry]
    prompt_sources: dict[Name, PromptSource] = Field(default_factory=dict)
    """Datasets of captions that prompt sets may be slices of."""
    pair_sources: dict[Name, PairSource] = Field(default_factory=dict)
    """Pairs of prompts and refined texts that boosters may learn from in place of the evolution's."""
    prompt_sets: dict[Name, PromptSet]
    generators: dict[Name, GeneratorEntry] = Field(min_length=1)
    """What films. Each is a track: a study of its own, with its evolution, its boosters and its tables."""
    judges: dict[Name, JudgeEntry] = Field(min_length=1)
    """What fills metrics."""
    objective: list[Name] = Field(default=["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"], min_length=1)
    """The metrics that select and train, in the order of columns and sums; the paper's when absent."""
    operators: dict[Name, OperatorEntry]
    refiners: dict[Name, RefinerEntry]
    evolution: EvolutionConfig
    booster: BoosterConfig
    boosters: dict[Name, AnyBooster]
    """The paper's chain (`sft`, then `dpo-1` ... by `preference.rounds`) needs no lines; entries are laid over it."""
    preference: PreferenceConfig
    negatives: NegativesConfig | None = None
    """What boosters of negative prompts learn from; none learns from it when absent."""
    evaluation: EvaluationConfig
    gallery: GalleryConfig = GalleryConfig()
    qualitative: QualitativeConfig = QualitativeConfig()
    planning: Annotated[PlanningConfig, Planning()] = PlanningConfig()
    vbench: VBenchConfig = VBenchConfig()
    user_study: rating.UserStudyConfig | None = None
    """People compare videos in pairs; no table and no report waits for them. There is none when absent."""

    @model_validator(mode="before")
    @classmethod
    def _with_default_boosters(cls, given: Any) -> Any:
        """The paper's chain of boosters lies below those that are given."""
        if not isinstance(given, dict):
            return given
        preference, over = given.get("preference"), given.get("boosters")
        rounds = preference.get("rounds") if isinstance(preference, dict) else None
        chain = default_chain(rounds if isinstance(rounds, int) else 2)
        return {**given, "boosters": lay({"": chain, "given": over if isinstance(over, dict) else {}})[0]}

    @model_validator(mode="after")
    def _names(self) -> Self:
        """Every name is well formed, and every name that is used is declared."""
        problems = [
            *self._bad_names(),
            *self._bad_shards(),
            *self._unknown_names(),
            *self._bad_evaluation(),
            *self._bad_metrics(),
            *self._bad_media(),
            *self._bad_boosters(),
            *self._bad_vbench(),
            *self._bad_qualitative(),
            *rating.problems(self),
        ]
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric that a judge fills, by name."""
        return {metric.name: metric for entry in self.judges.values() for metric in entry.filled}

    @property
    def objectives(self) -> list[Metric]:
        """The metrics that select and train, in their order."""
        return [self.metrics[name] for name in self.objective]

    def objective_of(self, track: Name) -> list[Metric]:
        """Those that select and train in a track: what it films can have them."""
        filmed = self.generators[track].filmed
        return [metric for metric in self.objectives if metric.judges(filmed)]

    @property
    def rewards(self) -> dict[str, JudgeEntry]:
        """The judges that fill them."""
        return {name: entry for name, entry in self.judges.items() if entry.role == "reward"}

    @property
    def reporters(self) -> dict[str, JudgeEntry]:
        """The judges that only report."""
        return {name: entry for name, entry in self.judges.items() if entry.role == "report"}

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Every entry that has a kind, by its dotted name."""
        for section in registry.KINDS:
            kept = "boosters" if section == "trainers" else section
            yield from ((f"{kept}.{name}", entry) for name, entry in getattr(self, kept).items())

    def _bad_names(self) -> Iterator[str]:
        groups: dict[str, Iterable[str]] = {group: getattr(self, group) for group in NAMED}
        for group, names in (groups | {"evaluation.sets": self.evaluation.sets}).items():
            for name in names:
                if not NAME.fullmatch(name):
                    yield f"{group}.{name}: a name holds a-z, 0-9, '.' and '-' only, 40 at most"
                if name in TAKEN.get(group, ()):
                    yield f"{group}.{name}: results/ holds something else of that name; take another"

    def _bad_shards(self) -> Iterator[str]:
        if (self.shard_size is None) == (self.shard_minutes is None):
            yield "shard_size, shard_minutes: give one of the two, and null for the other"

    def _unknown_names(self) -> Iterator[str]:
        for one in self.marked():
            if not isinstance(one.marker, Ref) or one.marker.section == "boosters":
                continue
            known: dict[str, Any] = getattr(self, one.marker.section)
            if one.marker.section == "models" and not one.key.startswith("generators."):
                known = {name: entry for name, entry in self.models.items() if entry.weighs}
            yield from _unknown(one.key, [one.value], known)
        for name, booster in self.boosters.items():
            data = getattr(booster, "data", None)
            if isinstance(data, Released) and isinstance(data.pairs, dict):
                yield from _unknown(f"boosters.{name}.data.pairs", data.pairs, self.generators)
        for name, source in self.prompt_sources.items():
            for other in source.without:
                if other in self.prompt_sources and (other == name or self.prompt_sources[other].without):
                    yield f"prompt_sources.{name}.without: {other!r} takes captions away itself; name others"
        for track in self.evolution.operators:
            yield from _unknown(f"evolution.operators.{track}", [track], self.generators)
        for track in self.evaluation.refiners_of:
            yield from _unknown(f"evaluation.refiners_of.{track}", [track], self.generators)

    def _bad_boosters(self) -> Iterator[str]:
        for one in self.marked():
            if one.marker != Ref("boosters"):
                continue
            track, _, booster = one.value.rpartition("/")
            if track and track not in self.generators:
                yield f"{one.key}: there is no track {track!r}; known are {', '.join(self.generators)}"
            elif booster not in self.boosters:
                yield from _unknown(one.key, [booster], self.boosters)
            elif track and self.boosters[booster].tracks:
                yield f"{one.key}: {booster} is shared by tracks; write {booster}"
        for name, entry in self.boosters.items():
            if entry.drawn and not (entry.drawn.draw or entry.start):
                yield f"boosters.{name}.data.draw: a booster must draw its candidates; give `draw` or `from`"
            for reference in entry.others:
                other = self.boosters.get(reference)
                if entry.tracks and other and not other.tracks:
                    yield f"boosters.{name}: it is shared by tracks, and {reference} is not; write TRACK/{reference}"
            yield from self._bad_negatives(name, entry)
            try:
                accumulation(entry.settled(self.booster), self.booster.devices)
            except ValidationError as error:
                yield from (f"boosters.{name}.settings.{line}" for line in _lines(error, entry.settings))
            except InputError as error:
                yield f"boosters.{name}.settings.{error}"
            if name in (before := self._before(name)):
                yield f"boosters.{name}: needs itself, by way of {', '.join(before)}; change a `from` or `draw`"

    def _bad_negatives(self, name: Name, entry: TrainerEntry) -> Iterator[str]:
        """What is wrong between boosters of texts and those of negative prompts."""
        drawn = entry.drawn
        if entry.writes == "negative" and drawn is None and self.negatives is None:
            yield f"boosters.{name}.data: negatives wants the section `negatives`"
        filming = (entry.tracks or []) if drawn and drawn.of else []
        for track in filming:
            if track in self.generators and not self.generators[track].takes_negative:
                yield f"boosters.{name}.tracks: {track} takes no negative prompts. {TAKES_NEGATIVE}"
        wanted = {"from": (entry.start, entry.writes)}
        if drawn:
            wanted |= {"data.draw": (drawn.draw, entry.writes), "data.of": (drawn.of, "text")}
        for key, (reference, writes) in wanted.items():
            other = self.boosters.get((reference or "").rpartition("/")[2])
            if other and other.writes != writes:
                yield f"boosters.{name}.{key}: {reference} writes {CALLED[other.writes]}, and not {CALLED[writes]}"

    def _before(self, booster: Name) -> list[Name]:
        """The boosters that must be trained before one, down to the first."""
        found, ahead = dict[Name, None](), [booster]
        while ahead:
            entry = self.boosters.get(ahead.pop())
            names = [one.rpartition("/")[2] for one in entry.others] if entry else []
            ahead += [name for name in names if name not in found]
            found |= dict.fromkeys(names)
        return list(found)

    def _bad_evaluation(self) -> Iterator[str]:
        of = {f"refiners_of.{track}": names for track, names in self.evaluation.refiners_of.items()}
        for where, listed in {"refiners": self.evaluation.refiners, **of}.items():
            if "original" not in listed:
                yield f"evaluation.{where}: 'original' must be among them, gains are measured against it"
            for name in _repeated([*listed, *self.evaluation.also]):
                yield f"evaluation.{where}: {name!r} is listed more than once"
        for name, refiner in self.refiners.items():
            booster = self.boosters.get((refiner.drawn_from or "").rpartition("/")[2])
            wanted: Writes = "negative" if refiner.negates else "text"
            if booster and booster.writes != wanted:
                yield (
                    f"refiners.{name}.booster: {refiner.drawn_from} writes {CALLED[booster.writes]}, and not "
                    f"{CALLED[wanted]}"
                )
        if "original" in self.refiners and not self.refiners["original"].unchanged:
            yield "refiners.original.kind: must be 'original', gains are measured against it"
        for name, entry in self.evaluation.sets.items():
            for where, learned in self.learned.items():
                if entry.prompts == learned:
                    yield f"evaluation.sets.{name}.prompts: boosters learn from {learned!r} ({where})"
            yield from self._bad_styles(f"evaluation.sets.{name}.styles", entry)

    def _bad_styles(self, where: str, entry: EvaluationSet) -> Iterator[str]:
        """What is wrong with the styles that an evaluation set names."""
        for style in _repeated(entry.styles):
            yield f"{where}: {style!r} is listed more than once"
        for style in entry.styles:
            if style in COLUMNS or style.startswith(("mean_", "gain_")) or style.endswith("_std"):
                yield f"{where}: {style!r} is another column of the table; call the style otherwise"
        prompts = self.prompt_sets.get(entry.prompts)
        if entry.styles and prompts:
            source = self.prompt_sources.get(prompts.source or "")
            if prompts.source is None and prompts.style_column is None:
                yield f"{where}: prompt_sets.{entry.prompts} has no styles; name their column in its `style_column`"
            elif source and source.styles is None:
                yield f"{where}: prompt_sources.{prompts.source} has no styles; set its `styles: files`"

    def _bad_metrics(self) -> Iterator[str]:
        for metric in self.objective:
            by = [f"judges.{name}" for name, entry in self.rewards.items() if metric in _names(entry.filled)]
            if len(by) != 1:
                yield f"judges: {metric} must be filled once, but is filled by {' and '.join(by) or 'none'}"
        for name, entry in self.rewards.items():
            if spare := [one for one in _names(entry.filled) if one not in self.objective]:
                yield (
                    f"judges.{name}: fills {', '.join(spare)}, which the objective does not name; leave that out of "
                    "its `metrics`, add it to `objective`, or set `role: report`"
                )
        for metric in _repeated(self.objective):
            yield f"objective: {metric!r} is listed more than once"
        reported = [metric for entry in self.reporters.values() for metric in _names(entry.filled)]
        for metric in [*_repeated(reported), *(one for one in reported if one in self.objective)]:
            yield f"judges: {metric} is filled more than once; name the `metrics` that each judge fills"
        for name, entry in self.reporters.items():
            yield from _unknown(f"judges.{name}.on", entry.on or [], self.evaluation.sets)
        for metric in self.evaluation.average:
            if metric not in self.objective:
                yield f"evaluation.average: {metric!r} is not in the objective"
        rules: dict[str, PairRule | BestWorstConfig | AuthorsConfig] = {
            "evolution": self.evolution,
            "preference.best_worst": self.preference.best_worst,
        }
        if self.preference.rule == "authors":
            rules["preference.authors"] = self.preference.authors
        for where, rule in rules.items():
            for metric in rule.weights:
                if metric not in self.objective:
                    yield f"{where}.weights.{metric}: is not in the objective ({', '.join(self.objective)})"
            for metric in rule.thresholds:
                if metric not in self.metrics:
                    yield f"{where}.thresholds.{metric}: no judge fills it; known are {', '.join(self.metrics)}"
            if not any(rule.weights.get(metric, 1.0) for metric in self.objective):
                yield f"{where}.weights: all weights are 0: every total would be the same"

    def thresholds_outside(self) -> list[str]:
        """The judges that only report, and yet are asked about what is learned from, since a threshold names them."""
        wanted = outside({**self.evolution.thresholds, **self.preference.chosen.thresholds}, list(self.objectives))
        return [name for name, entry in self.reporters.items() if set(wanted) & set(_names(entry.filled))]

    def _blind_judges(self) -> Iterator[str]:
        """Judges of videos that are asked about images alone."""
        media = {entry.filmed for entry in self.generators.values()}
        for name, judge in self.reporters.items():
            if not any(judge.of(medium) for medium in media):
                yield f"judges.{name}: looks at videos, and every generator makes images; take it out ({name}: null)"
            for one in judge.on or []:
                judged = self.evaluation.sets.get(one)
                if judged and not any(judged.filmed_by(medium) and judge.of(medium) for medium in ("video", "image")):
                    yield f"judges.{name}.on: it looks at videos, and {one} is a set of images; name others"

    def _bad_media(self) -> Iterator[str]:
        """What is wrong between the metrics of an objective, a rule or a booster and tracks that make images."""
        tracks = [track for track, entry in self.generators.items() if entry.filmed == "image"]
        if any(one not in self.metrics for one in self.objective):
            return
        found = {track: _names(self.objective_of(track)) for track in self.generators}
        if tracks and not found[tracks[0]]:
            yield (
                f"objective: {tracks[0]} makes images, which have no {', '.join(self.objective)}; add AES, MPS or HPS"
            )
        yield from self._blind_judges()
        rules = {"evolution": self.evolution, "preference": self.preference.chosen} if tracks else {}
        for where, rule in rules.items():
            for metric in rule.thresholds:
                if metric in self.metrics and not self.metrics[metric].judges("image"):
                    yield f"{where}.thresholds.{metric}: {tracks[0]} makes images, which have no {metric}"
        for name, booster in self.boosters.items():
            shared = [track for track in booster.tracks or [] if track in found]
            for track in shared[1:]:
                if found[track] != found[shared[0]]:
                    first, second = (", ".join(found[one]) for one in (shared[0], track))
                    yield (
                        f"boosters.{name}.tracks: {shared[0]} is rewarded by {first}, and {track} by {second}; what is "
                        "better in one says nothing of the other, so train one of each"
                    )

    def _bad_vbench(self) -> Iterator[str]:
        sets = self.evaluation.sets
        for medium in dict.fromkeys(entry.filmed for entry in self.generators.values()):
            if not any(entry.rewards and entry.filmed_by(medium) for entry in sets.values()):
                yield f"evaluation.sets: one set of {medium}s at least must be scored by the rewards (`rewards: true`)"
        for name, entry in sets.items():
            if entry.vbench and not entry.filmed_by("video"):
                yield f"evaluation.sets.{name}.vbench: VBench judges videos, and this set is of images"
            if entry.vbench and entry.vbench.mode == "standard" and entry.replicates > SAMPLES:
                yield f"evaluation.sets.{name}.replicates: VBench looks at {SAMPLES} videos of a prompt at most"
            if not entry.rewards and entry.vbench is None:
                yield f"evaluation.sets.{name}: nothing judges it; set `rewards: true` or give `vbench`"
        for key in ("main", "ablation"):
            table = getattr(self.vbench, key)
            if table is not None and (table not in sets or sets[table].vbench is None):
                yield f"vbench.{key}: {table!r} is no evaluation set with `vbench`"
        ablation = sets.get(self.vbench.ablation or "")
        if ablation and ablation.vbench:
            if not ablation.rewards:
                yield f"vbench.ablation: evaluation.sets.{self.vbench.ablation} needs `rewards: true`"
            if missing := [name for name in ABLATION if name not in ablation.vbench.names]:
                yield f"vbench.ablation: evaluation.sets.{self.vbench.ablation}.vbench lacks {', '.join(missing)}"

    def _bad_qualitative(self) -> Iterator[str]:
        """What is wrong with what the figure of videos shall show: it films nothing that no table needs."""
        wanted = self.qualitative
        track = wanted.track or next(iter(self.generators))
        if track not in self.generators:
            return
        compared, medium = self.evaluation.compared(track), self.generators[track].filmed
        for name in wanted.refiners or []:
            if name in self.refiners and name not in compared:
                yield f"qualitative.refiners: {track} is not compared by {name!r}, but by {', '.join(compared)}"
        for name in _repeated(wanted.refiners or []):
            yield f"qualitative.refiners: {name!r} is listed more than once"
        sets = [name for name, one in self.evaluation.sets.items() if one.rewards and one.filmed_by(medium)]
        if wanted.set is not None and wanted.set not in sets:
            yield f"qualitative.set: the rewards score no set {wanted.set!r} of {track}; known are {', '.join(sets)}"

    @property
    def learned(self) -> dict[str, Name]:
        """The prompt sets that boosters learn from, by the key that names them."""
        drawn = {
            f"boosters.{name}.data.prompts": entry.drawn.prompts
            for name, entry in self.boosters.items()
            if entry.drawn and entry.drawn.prompts
        }
        return {"evolution.prompts": self.evolution.prompts, "preference.prompts": self.preference.prompts, **drawn}

    @property
    def apart(self) -> list[tuple[Name, Name]]:
        """The prompt sets that must share no prompt: what boosters learn from, and what they are tested on."""
        tests = {entry.prompts for entry in self.evaluation.sets.values()}
        return [(learned, test) for learned in sorted(set(self.learned.values())) for test in sorted(tests)]


def resolve(raw: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """A configuration whose entries that are `like` others hold what those hold.

    Args:
        raw: The configuration as read from YAML.
        root: The repository root.

    Raises:
        InputError: There is no entry of a name.
    """
    path = root / READY
    ready = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return started_from(raw, NAMED, ready)


def check(raw: dict[str, Any], root: Path, origins: Mapping[str, str] | None = None) -> Config:
    """Validate a merged configuration together with the files it names, before any work starts.

    Args:
        raw: The configuration as read from YAML.
        root: The repository root, to which paths are relative.
        origins: By dotted key the file that it comes from, from `settings.lay`, for messages.

    Raises:
        InputError: One message that lists every offending key.
    """
    try:
        config = read(resolve(raw, root) if isinstance(raw, dict) else raw)
        sets = {name: load_prompt_set(name, entry, root) for name, entry in config.prompt_sets.items() if entry.file}
        for name, evaluated in config.evaluation.sets.items():
            if evaluated.styles and evaluated.prompts in sets:
                check_styles(name, evaluated.styles, evaluated.prompts, sets[evaluated.prompts])
        check_slices(config.prompt_sets, config.apart)
        check_disjoint(sets, [pair for pair in config.apart if all(name in sets for name in pair)])
        media = [entry.filmed for entry in config.generators.values()]
        with named("booster.instruction"):
            for file in all_media(config.booster.instruction, media, root):
                Instruction(root / file)
        with named("booster.negative.instruction"):
            Instruction(root / config.booster.negative.instruction)
        if config.negatives:
            with named("negatives.template"):
                read_template(root / config.negatives.template, REFINE_PLACEHOLDERS)
        with named("evolution.template"):
            for file in all_media(config.evolution.template, media, root):
                read_template(root / file, EVOLUTION_PLACEHOLDERS)
        for where, entry in config.entries():
            entry.check(where, config, root)
    except InputError as error:
        raise InputError(_with_origins(str(error), origins or {})) from error
    return config


def read(raw: dict[str, Any]) -> Config:
    """Validate a configuration's keys and names alone.

    Raises:
        InputError: One message that lists every offending key.
    """
    try:
        return TypeAdapter(Config).validate_python(raw)
    except ValidationError as error:
        raise InputError("the configuration cannot be used:\n  " + "\n  ".join(_lines(error, raw))) from error


def _names(metrics: Iterable[Metric]) -> list[str]:
    return [metric.name for metric in metrics]


def _unknown(where: str, names: Iterable[Name], known: Collection[Name]) -> Iterator[str]:
    """What is wrong with a key of which a value is no name of an entry."""
    return (f"{where}: there is no {name!r}; known are {', '.join(known)}" for name in names if name not in known)


def _with_origins(message: str, origins: Mapping[str, str]) -> str:
    """A message whose lines name, behind each key that they begin with, the file that it comes from."""

    def named(line: re.Match[str]) -> str:
        file = origin(line["key"], origins)
        return f"{line[0]} ({file})" if file else line[0]

    return re.sub(r"^ *(?P<key>[a-z_]+(\.[\w.-]+)?)(?=: )", named, message, flags=re.MULTILINE)


def _lines(error: ValidationError, raw: object) -> list[str]:
    """One line a key: what is wrong with it, and what stands there."""
    problems: dict[str, list[ErrorDetails]] = {}
    for problem in error.errors():
        problems.setdefault(_key(problem, raw), []).append(problem)
    lines = []
    for key, found in problems.items():
        what = " or ".join(dict.fromkeys(_message(problem) for problem in found))
        given = found[0]["input"]
        shown = found[0]["type"] != "missing" and not isinstance(given, dict)
        lines.append((f"{key}: " if key else "") + what + (f" (found {given!r:.80})" if shown else ""))
    return lines


def _message(problem: ErrorDetails) -> str:
    if problem["type"] in ("float_type", "int_type") and (fault := number_in_text(problem["input"])):
        return fault
    known = {"extra_forbidden": "there is no such key", "missing": "is missing"}
    return known.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _key(problem: ErrorDetails, raw: object) -> str:
    """The dotted key that a problem is about: pydantic's location without the union members that it tried."""
    parts: list[str] = []
    node: Any = raw
    tagged = False
    for place, part in enumerate(problem["loc"], 1):
        last = place == len(problem["loc"])
        if isinstance(node, dict) and part in (node.get("kind"), node.get("trainer")) and not tagged and not last:
            tagged = True  # the member of a union that `kind` chose; a key of that name may follow
        elif part in (node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()):
            parts.append(str(part))
            node, tagged = node[part], False
        elif last and problem["type"] == "missing":
            parts.append(str(part))
    return ".".join(parts)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
