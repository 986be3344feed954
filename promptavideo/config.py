"""The whole configuration: every section put together, and every name in it checked against the others."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from promptavideo.boosters.config import BoosterConfig
from promptavideo.errors import InputError
from promptavideo.evolution import EvolutionConfig
from promptavideo.generators import GeneratorConfig, check_pipeline
from promptavideo.models import ModelEntry
from promptavideo.operators import OperatorConfig
from promptavideo.preference import PreferenceConfig
from promptavideo.prompts import PromptSet, check_disjoint, load_prompt_set
from promptavideo.refiners import RefinerConfig
from promptavideo.rewards import DIMENSIONS_OF, RewardConfig
from promptavideo.schemas import DIMENSIONS
from promptavideo.settings import Section
from promptavideo.tables import BootstrapConfig

Name = str
NAME = r"^[a-z0-9][a-z0-9.-]*$"
"""Names become folders and wildcards, so they are lower case, without separators, and short."""


class EvaluationSet(Section):
    """A prompt set to evaluate on."""

    prompts: Name
    replicates: int = Field(1, ge=1)
    """Videos a prompt, each with another seed."""


class EvaluationConfig(Section):
    """What is compared, and on which prompts."""

    sets: dict[Name, EvaluationSet] = Field(min_length=1)
    refiners: list[Name] = Field(min_length=1)
    bootstrap: BootstrapConfig = BootstrapConfig()


class Config(Section):
    """One run of the suite."""

    scale: Literal["laptop", "paper"]
    """Tables made at laptop scale say so."""
    seed: int = Field(ge=0, lt=2**31)
    store: str = "store"
    shard_size: int = Field(ge=1)
    """Prompts that one filming job takes; no result depends on it."""
    models: dict[Name, ModelEntry]
    prompt_sets: dict[Name, PromptSet]
    generators: dict[Name, GeneratorConfig] = Field(min_length=1)
    rewards: dict[Name, RewardConfig] = Field(min_length=1)
    operators: dict[Name, OperatorConfig]
    refiners: dict[Name, RefinerConfig]
    evolution: EvolutionConfig
    booster: BoosterConfig
    preference: PreferenceConfig
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _names(self) -> Self:
        """Every name that is used is declared."""
        import re

        for group in ("models", "prompt_sets", "generators", "rewards", "operators", "refiners"):
            for name in getattr(self, group):
                if not re.fullmatch(NAME, name) or len(name) > 40:
                    raise ValueError(f"{group}.{name}: a name holds a-z, 0-9, '.' and '-' only, 40 at most")
        used: list[tuple[str, str, dict[str, Any]]] = [
            ("evolution.prompts", self.evolution.prompts, self.prompt_sets),
            ("evolution.operator", self.evolution.operator, self.operators),
            ("preference.prompts", self.preference.prompts, self.prompt_sets),
            ("booster.base", self.booster.base, self.models),
            *((f"generators.{name}.model", entry.model, self.models) for name, entry in self.generators.items()),
            *(
                (f"evaluation.sets.{name}.prompts", entry.prompts, self.prompt_sets)
                for name, entry in self.evaluation.sets.items()
            ),
            *(("evaluation.refiners", name, self.refiners) for name in self.evaluation.refiners),
        ]
        for name, refiner in self.refiners.items():
            if refiner.kind == "llm":
                used.append((f"refiners.{name}.operator", refiner.operator, self.operators))
            if refiner.kind == "booster":
                used.append((f"refiners.{name}.stage", refiner.stage, dict.fromkeys(self.stages)))
        for where, name, declared in used:
            if name not in declared:
                raise ValueError(f"{where}: there is no {name!r}; known are {', '.join(declared)}")
        if "original" not in self.evaluation.refiners:
            raise ValueError("evaluation.refiners: 'original' must be among them, gains are measured against it")
        filled = [dimension for entry in self.rewards.values() for dimension in DIMENSIONS_OF[entry.kind]]
        if sorted(filled) != sorted(DIMENSIONS):
            raise ValueError(f"rewards: each of {', '.join(DIMENSIONS)} must be filled once, but these are: {filled}")
        return self

    @property
    def stages(self) -> list[str]:
        """The boosters that are trained, in order."""
        return ["sft", *(f"dpo-{round_}" for round_ in range(1, self.preference.rounds + 1))]


def check(raw: dict[str, Any], root: Path) -> Config:
    """Validate a merged configuration together with the files it names, before any work starts.

    Args:
        raw: The configuration as read from YAML.
        root: The repository root, to which paths are relative.

    Raises:
        InputError: One message that lists every offending key.
    """
    try:
        config = TypeAdapter(Config).validate_python(raw)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'configuration'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            + (f" (found {problem['input']!r:.80})" if problem["type"] != "missing" and problem["loc"] else "")
            for problem in error.errors()
        ]
        raise InputError("the configuration cannot be used:\n" + "\n".join(lines)) from error
    sets = {name: load_prompt_set(name, entry, root) for name, entry in config.prompt_sets.items()}
    training = {config.evolution.prompts, config.preference.prompts}
    tests = {entry.prompts for entry in config.evaluation.sets.values()}
    check_disjoint(sets, [(learned, test) for learned in sorted(training) for test in sorted(tests)])
    for path in (config.booster.instruction, config.evolution.template):
        if not (root / path).is_file():
            raise InputError(f"{path}: this template is named in the configuration but is not there")
    return config


def check_generators(config: Config) -> None:
    """Check every generator's pipeline class and sampling settings (imports diffusers: seconds)."""
    for name, entry in config.generators.items():
        check_pipeline(name, entry)
