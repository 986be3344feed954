"""The whole configuration: every section put together, and every name in it checked against the others."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig
from promptavideo.captions import PromptSource
from promptavideo.errors import InputError
from promptavideo.evolution import EvolutionConfig
from promptavideo.generators import GeneratorConfig, check_generator
from promptavideo.judges import DIMENSIONS_OF, JudgeConfig, VideoScoreConfig
from promptavideo.judges.videoscore import PLACEHOLDERS as QUERY_PLACEHOLDERS
from promptavideo.judges.videoscore import trained_frames
from promptavideo.models import MiniatureModel, ModelEntry, requires
from promptavideo.operators import OperatorConfig
from promptavideo.operators.base import (
    EVOLUTION_PLACEHOLDERS,
    FEW_SHOT_PLACEHOLDERS,
    REFINE_PLACEHOLDERS,
    read_template,
)
from promptavideo.preference import PreferenceConfig
from promptavideo.probe import Reference
from promptavideo.prompts import PromptSet, check_disjoint, check_slices, load_prompt_set
from promptavideo.refiners import FileRefinerConfig, LlmRefinerConfig, RefinerConfig
from promptavideo.refiners.examples import read_examples
from promptavideo.refiners.file import FileRefiner
from promptavideo.schemas import DIMENSIONS
from promptavideo.settings import Section, number_in_text, origin
from promptavideo.tables import BootstrapConfig
from promptavideo.vbench.config import VBenchConfig, VBenchSet
from promptavideo.vbench.dimensions import SAMPLES
from promptavideo.vbench.table import ABLATION

Name = str
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
"""Names become folders and wildcards, so they are lower case, without separators, and short."""


NAMED = ("models", "prompt_sources", "prompt_sets", "generators", "judges", "operators", "refiners")
"""Sections of named entries."""


class EvaluationSet(Section):
    """A prompt set to evaluate on."""

    prompts: Name
    replicates: int = Field(1, ge=1)
    """Videos a prompt, each with another seed."""
    rewards: bool = True
    """Score it by the rewards, for the VideoScore table."""
    vbench: VBenchSet | None = None
    """Judge it by VBench."""


class EvaluationConfig(Section):
    """What is compared, and on which prompts."""

    sets: dict[Name, EvaluationSet] = Field(min_length=1)
    refiners: list[Name] = Field(min_length=1)
    refiners_of: dict[Name, list[Name]] = Field(default={})
    """{generator: refiners} of generators that are compared with others than `refiners`."""
    bootstrap: BootstrapConfig = BootstrapConfig()

    def compared(self, generator: Name) -> list[Name]:
        """The refiners of a generator's table rows."""
        return self.refiners_of.get(generator, self.refiners)


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
    store: str = Field("store", min_length=1)
    shard_size: int | None = Field(None, ge=1)
    """Prompts that one filming job takes; no result depends on it."""
    shard_minutes: float | None = Field(None, gt=0)
    """Instead of `shard_size`: about how long a filming job takes, by the generator's `seconds_per_video`."""
    score_minutes: float | None = Field(None, gt=0)
    """About how long a scoring job takes, by `planning.seconds_per_score`: it scores the shards of several filming
    jobs, since loading judges may take longer than scoring one shard. Absent: those of one."""
    models: dict[Name, ModelEntry]
    prompt_sources: dict[Name, PromptSource] = Field(default_factory=dict)
    """Datasets of captions that prompt sets may be slices of."""
    prompt_sets: dict[Name, PromptSet]
    generators: dict[Name, GeneratorConfig] = Field(min_length=1)
    judges: dict[Name, JudgeConfig] = Field(min_length=1)
    operators: dict[Name, OperatorConfig]
    refiners: dict[Name, RefinerConfig]
    evolution: EvolutionConfig
    booster: BoosterConfig
    preference: PreferenceConfig
    evaluation: EvaluationConfig
    planning: PlanningConfig = PlanningConfig()
    vbench: VBenchConfig = VBenchConfig()

    @model_validator(mode="after")
    def _names(self) -> Self:
        """Every name is well formed, and every name that is used is declared."""
        problems = [
            *self._bad_names(),
            *self._bad_shards(),
            *self._unknown_names(),
            *self._bad_evaluation(),
            *self._bad_judges(),
            *self._bad_vbench(),
        ]
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    def _bad_names(self) -> Iterator[str]:
        groups: dict[str, Iterable[str]] = {group: getattr(self, group) for group in NAMED}
        for group, names in (groups | {"evaluation.sets": self.evaluation.sets}).items():
            for name in names:
                if not NAME.fullmatch(name):
                    yield f"{group}.{name}: a name holds a-z, 0-9, '.' and '-' only, 40 at most"

    def _bad_shards(self) -> Iterator[str]:
        if (self.shard_size is None) == (self.shard_minutes is None):
            yield "shard_size, shard_minutes: give one of the two, and null for the other"

    def _unknown_names(self) -> Iterator[str]:
        files = [name for name, entry in self.models.items() if not isinstance(entry, MiniatureModel)]
        used: list[tuple[str, str, Iterable[str]]] = [
            *(
                (f"models.{name}.text_encoder", needed, files)
                for name, entry in self.models.items()
                for needed in requires(entry)
            ),
            *(
                (f"generators.{name}.{f'loras.{place - 1}.' if place else ''}model", model, self.models)
                for name, entry in self.generators.items()
                for place, model in enumerate(entry.models)
            ),
            *(
                (f"prompt_sets.{name}.source", entry.source, self.prompt_sources)
                for name, entry in self.prompt_sets.items()
                if entry.source is not None
            ),
            ("evolution.prompts", self.evolution.prompts, self.prompt_sets),
            ("evolution.operator", self.evolution.operator, self.operators),
            *((f"evolution.operators.{name}", name, self.generators) for name in self.evolution.operators),
            *((f"evolution.operators.{on}", name, self.operators) for on, name in self.evolution.operators.items()),
            ("preference.prompts", self.preference.prompts, self.prompt_sets),
            ("booster.base", self.booster.base, files),
            *(
                (f"evaluation.sets.{name}.prompts", entry.prompts, self.prompt_sets)
                for name, entry in self.evaluation.sets.items()
            ),
            *(
                (f"judges.{name}.{key}", model, files)
                for name, entry in self.judges.items()
                for key, model in entry.models.items()
            ),
            *(("evaluation.refiners", name, self.refiners) for name in self.evaluation.refiners),
            *(("evaluation.refiners_of", name, self.generators) for name in self.evaluation.refiners_of),
            *(
                (f"evaluation.refiners_of.{generator}", name, self.refiners)
                for generator, names in self.evaluation.refiners_of.items()
                for name in names
            ),
        ]
        for name, refiner in self.refiners.items():
            if refiner.kind == "llm":
                used.append((f"refiners.{name}.operator", refiner.operator, self.operators))
            if refiner.kind == "promptist":
                used += [(f"refiners.{name}", model, files) for model in refiner.models]
            if refiner.kind == "booster":
                used.append((f"refiners.{name}.stage", refiner.stage, self.stages))
        for where, name, declared in used:
            if name not in declared:
                yield f"{where}: there is no {name!r}; known are {', '.join(declared)}"

    def _bad_evaluation(self) -> Iterator[str]:
        lists = {"refiners": self.evaluation.refiners} | {
            f"refiners_of.{generator}": names for generator, names in self.evaluation.refiners_of.items()
        }
        for where, listed in lists.items():
            if "original" not in listed:
                yield f"evaluation.{where}: 'original' must be among them, gains are measured against it"
            for name in _repeated(listed):
                yield f"evaluation.{where}: {name!r} is listed more than once"
        if "original" in self.refiners and self.refiners["original"].kind != "original":
            yield "refiners.original.kind: must be 'original', gains are measured against it"
        for name, entry in self.evaluation.sets.items():
            for learned in ("evolution", "preference"):
                if entry.prompts == getattr(self, learned).prompts:
                    yield f"evaluation.sets.{name}.prompts: boosters learn from {entry.prompts!r} ({learned}.prompts)"

    def _bad_judges(self) -> Iterator[str]:
        filled = {name: DIMENSIONS_OF[entry.kind] for name, entry in self.judges.items()}
        for dimension in DIMENSIONS:
            by = [f"judges.{name}" for name, dimensions in filled.items() if dimension in dimensions]
            if len(by) != 1:
                yield f"judges: {dimension} must be filled once, but is filled by {' and '.join(by) or 'none'}"
        for name, entry in self.judges.items():
            if isinstance(entry, VideoScoreConfig) and (model := self.models.get(entry.model)):
                published = getattr(model, "repo_id", getattr(model, "path", entry.model))
                frames = trained_frames(published) or trained_frames(entry.model)
                if frames is None and "max_frames" not in entry.model_fields_set:
                    yield f"judges.{name}.max_frames: {published} is VideoScore v1 (write 16), v1.1 (48) or another?"
                elif frames not in (None, entry.max_frames):
                    yield f"judges.{name}.max_frames: {published} was trained with {frames} frames; write {frames}"

    def _bad_vbench(self) -> Iterator[str]:
        sets = self.evaluation.sets
        if not any(entry.rewards for entry in sets.values()):
            yield "evaluation.sets: one set at least must be scored by the rewards (`rewards: true`)"
        for name, entry in sets.items():
            if entry.vbench and entry.vbench.mode == "standard" and entry.replicates > SAMPLES:
                yield f"evaluation.sets.{name}.replicates: VBench looks at {SAMPLES} videos of a prompt at most"
            if not entry.rewards and entry.vbench is None:
                yield f"evaluation.sets.{name}: nothing judges it; set `rewards: true` or give `vbench`"
        for key in ("main", "ablation"):
            name = getattr(self.vbench, key)
            if name is not None and (name not in sets or sets[name].vbench is None):
                yield f"vbench.{key}: {name!r} is no evaluation set with `vbench`"
        ablation = sets.get(self.vbench.ablation or "")
        if ablation and ablation.vbench:
            if not ablation.rewards:
                yield f"vbench.ablation: evaluation.sets.{self.vbench.ablation} needs `rewards: true`"
            if missing := [name for name in ABLATION if name not in ablation.vbench.names]:
                yield f"vbench.ablation: evaluation.sets.{self.vbench.ablation}.vbench lacks {', '.join(missing)}"

    @property
    def apart(self) -> list[tuple[Name, Name]]:
        """The prompt sets that must share no prompt: what boosters learn from, and what they are tested on."""
        training = {self.evolution.prompts, self.preference.prompts}
        tests = {entry.prompts for entry in self.evaluation.sets.values()}
        return [(learned, test) for learned in sorted(training) for test in sorted(tests)]

    @property
    def stages(self) -> list[str]:
        """The boosters that are trained, in order."""
        return ["sft", *(f"dpo-{round_}" for round_ in range(1, self.preference.rounds + 1))]


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
        return _checked(raw, root)
    except InputError as error:
        raise InputError(_with_origins(str(error), origins or {})) from error


def _checked(raw: dict[str, Any], root: Path) -> Config:
    try:
        config = TypeAdapter(Config).validate_python(raw)
    except ValidationError as error:
        raise InputError("the configuration cannot be used:\n  " + "\n  ".join(_lines(error, raw))) from error
    for name, generator in config.generators.items():
        check_generator(name, generator)
    sets = {name: load_prompt_set(name, entry, root) for name, entry in config.prompt_sets.items() if entry.file}
    check_slices(config.prompt_sets, config.apart)
    check_disjoint(sets, [pair for pair in config.apart if all(name in sets for name in pair)])
    _check_templates(config, root)
    _check_refined(config, sets, root)
    return config


def _with_origins(message: str, origins: Mapping[str, str]) -> str:
    """A message whose lines name, behind each key that they begin with, the file that it comes from."""

    def named(line: re.Match[str]) -> str:
        file = origin(line["key"], origins)
        return f"{line[0]} ({file})" if file else line[0]

    return re.sub(r"^ *(?P<key>[a-z_]+(\.[\w.-]+)?)(?=: )", named, message, flags=re.MULTILINE)


def _check_templates(config: Config, root: Path) -> None:
    with _named("booster.instruction"):
        Instruction(root / config.booster.instruction)
    with _named("evolution.template"):
        read_template(root / config.evolution.template, EVOLUTION_PLACEHOLDERS)
    for name, refiner in config.refiners.items():
        if isinstance(refiner, LlmRefinerConfig):
            if refiner.examples:
                with _named(f"refiners.{name}.examples"):
                    read_examples(root / refiner.examples)
            with _named(f"refiners.{name}.template"):
                placeholders = FEW_SHOT_PLACEHOLDERS if refiner.examples else REFINE_PLACEHOLDERS
                read_template(root / refiner.template, placeholders)
    for name, reward in config.judges.items():
        if isinstance(reward, VideoScoreConfig):
            with _named(f"judges.{name}.template"):
                read_template(root / reward.template, QUERY_PLACEHOLDERS)


def _check_refined(config: Config, sets: Mapping[str, pd.DataFrame], root: Path) -> None:
    """Texts that were refined elsewhere are there for every prompt that is known by now."""
    compared = {name for generator in config.generators for name in config.evaluation.compared(generator)}
    for name in sorted(compared):
        refiner = config.refiners[name]
        if isinstance(refiner, FileRefinerConfig):
            texts = FileRefiner(refiner, name, root)
            for prompts in sorted({entry.prompts for entry in config.evaluation.sets.values()} & sets.keys()):
                texts.refine(sets[prompts]["prompt_id"].tolist(), sets[prompts]["prompt"].tolist())


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Say which key of the configuration an error is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


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
    if problem["type"] in ("float_type", "int_type") and (written := number_in_text(problem["input"])):
        return f"YAML reads this as text; write {written}, without quotes"
    known = {"extra_forbidden": "there is no such key", "missing": "is missing"}
    return known.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _key(problem: ErrorDetails, raw: object) -> str:
    """The dotted key that a problem is about: pydantic's location without the union members that it tried."""
    parts: list[str] = []
    node: Any = raw
    tagged = False
    for place, part in enumerate(problem["loc"], 1):
        last = place == len(problem["loc"])
        if isinstance(node, dict) and part == node.get("kind") and not tagged and not last:
            tagged = True  # the member of a union that `kind` chose; a key of that name may follow
        elif part in (node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()):
            parts.append(str(part))
            node, tagged = node[part], False
        elif last and problem["type"] == "missing":
            parts.append(str(part))
    return ".".join(parts)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
