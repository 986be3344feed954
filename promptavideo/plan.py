"""What the workflow needs to know before anything runs: names, shards, dependencies between batches."""

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from promptavideo.config import Config
from promptavideo.errors import require
from promptavideo.prompts import count_prompts
from promptavideo.refiners import BoosterRefinerConfig
from promptavideo.shards import shard_count


class Plan:
    """Answers the rules' questions about a checked configuration."""

    def __init__(self, config: Config, root: Path) -> None:
        self.config, self.root = config, root
        self.raw = config.model_dump(mode="json")
        """The whole configuration, as JSON can hold it."""
        self._count = cache(lambda name: count_prompts(config.prompt_sets[name], root, name))
        rounds = "|".join(str(number) for number in range(config.evolution.rounds + 1))
        self.batch_pattern = (
            rf"pilot|evolution/round-(?:{rounds})|dpo-\d+|"
            rf"evaluation/(?:{self.pattern('evaluation.sets')})/(?:{self.pattern('refiners')})"
        )

    def section(self, path: str) -> str:
        """A part of the configuration, e.g. `generators.mini-t2v`, as JSON."""
        return json.dumps(self._part(path), sort_keys=True)

    def answers(self, operator: str) -> str:
        """What decides an operator's answers, as JSON."""
        return self.as_json(self.config.operators[operator].decides())

    def videos(self, generator: str) -> str:
        """What decides a generator's videos, as JSON."""
        return self.as_json(self.config.generators[generator].decides())

    @staticmethod
    def options(**values: str) -> str:
        """Command-line options `--name value`, quoted for the shell."""
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in values.items())

    def pattern(self, path: str) -> str:
        """A regular expression for the names declared in a part of the configuration."""
        return "|".join(re.escape(name) for name in sorted(self._part(path), key=len, reverse=True))

    def prompt_set(self, batch: str) -> str:
        """The prompt set that a batch films."""
        stage, *rest = batch.split("/")
        if stage in ("pilot", "evolution"):
            return self.config.evolution.prompts
        if stage == "evaluation":
            return self.config.evaluation.sets[rest[0]].prompts
        return self.config.preference.prompts

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

    def batches(self, generator: str) -> list[str]:
        """What a generator films for its tables, in the order of the method."""
        config = self.config
        rounds = [f"evolution/round-{number}" for number in range(config.evolution.rounds + 1)]
        evaluations = [
            f"evaluation/{name}/{refiner}"
            for name in config.evaluation.sets
            for refiner in config.evaluation.compared(generator)
        ]
        return [*rounds, *config.stages[1:], *evaluations]

    def prompts(self, batch: str) -> int:
        """How many prompts a batch films."""
        count = self._count(self.prompt_set(batch))
        return min(count, self.config.planning.pilot_prompts) if batch == "pilot" else count

    def videos_per_prompt(self, batch: str) -> int:
        """How many videos a batch films of each prompt, at most."""
        stage, *rest = batch.split("/")
        if stage == "evaluation":
            return self.config.evaluation.sets[rest[0]].replicates
        if stage == "evolution":
            variants = 1 if rest[0] == "round-0" else self.config.evolution.variants
            return variants * self.config.evolution.replicates
        return 1 if stage == "pilot" else self.config.preference.candidates

    def shard_size(self, generator: str, batch: str) -> int:
        """Prompts in one shard of a batch: about as many in each, so that no core waits for a last large one."""
        config = self.config
        if config.shard_minutes is None:
            most = require(config.shard_size, "a checked configuration has shard_size or shard_minutes")
        else:
            seconds_per_prompt = config.generators[generator].seconds_per_video * self.videos_per_prompt(batch)
            most = max(1, int(60 * config.shard_minutes / seconds_per_prompt))
        prompts = self.prompts(batch)
        return max(1, -(-prompts // shard_count(prompts, most)))

    def shards(self, generator: str, batch: str) -> list[str]:
        """The names of a batch's shards."""
        count = shard_count(self.prompts(batch), self.shard_size(generator, batch))
        return [_shard(number) for number in range(count)]

    def scored_together(self, generator: str, batch: str) -> dict[str, list[str]]:
        """The names of a batch's scoring jobs, and the shards that each scores: about as many in each."""
        shards = self.shards(generator, batch)
        together = 1
        if self.config.score_minutes is not None:
            each = self.videos_per_prompt(batch) * self.shard_size(generator, batch)
            seconds = self.config.planning.seconds_per_score * each
            together = max(1, int(60 * self.config.score_minutes / seconds))
        together = -(-len(shards) // shard_count(len(shards), together))
        starts = range(0, len(shards), together)
        return {_shard(number): shards[start : start + together] for number, start in enumerate(starts)}

    def judged_by(self, generator: str) -> list[str]:
        """The models that decide a generator's scores: its own and those of the rewards, each once."""
        rewards = (model for reward in self.config.judges.values() for model in reward.models.values())
        return list(dict.fromkeys([*self.config.generators[generator].models, *rewards]))

    def previous(self, stage: str) -> str | None:
        """The booster that a stage starts from; None for the first."""
        place = self.config.stages.index(stage)
        return self.config.stages[place - 1] if place else None

    def arms(self, generators: list[str]) -> list[dict[str, str | None]]:
        """The rows of a table: each generator's sets and refiners, with the files they come from."""
        return [
            {
                "generator": generator,
                "set": name,
                "refiner": refiner,
                "scores": self._scores(generator, name, refiner),
                "booster": self.booster(generator, refiner),
            }
            for generator in generators
            for name, entry in self.config.evaluation.sets.items()
            if entry.rewards
            for refiner in self.config.evaluation.compared(generator)
        ]

    def sheet(self, generator: str) -> dict[str, str]:
        """The contact sheet's columns: the original prompts, the first booster and the last, on the first set."""
        return {batch.split("/")[2]: f"results/{generator}/{batch}/scores.parquet" for batch in self.shown(generator)}

    def shown(self, generator: str) -> list[str]:
        """The batches of the contact sheet's columns."""
        boosters = [name for name in self.config.evaluation.compared(generator) if self.booster(generator, name)]
        chosen = dict.fromkeys(["original", *boosters[:1], *boosters[-1:]])
        first_set = next(name for name, entry in self.config.evaluation.sets.items() if entry.rewards)
        return [f"evaluation/{first_set}/{refiner}" for refiner in chosen]

    def booster(self, generator: str, refiner: str) -> str | None:
        """The folder of the booster behind a refiner, if it is one."""
        entry = self.config.refiners[refiner]
        return f"results/{generator}/boosters/{entry.stage}" if isinstance(entry, BoosterRefinerConfig) else None

    @staticmethod
    def as_json(value: object) -> str:
        """A value for a command-line option; mappings keep their order, which is the order of columns on a sheet."""
        return json.dumps(value)

    def _part(self, path: str) -> Any:
        """What stands at a path, which is cut at its first dot only: names may hold dots themselves."""
        part: Any = self.raw
        for name in path.split(".", 1):
            part = part[name]
        return part

    @staticmethod
    def _scores(generator: str, name: str, refiner: str) -> str:
        return f"results/{generator}/evaluation/{name}/{refiner}/scores.parquet"


def _shard(number: int) -> str:
    return f"{number:04}"
