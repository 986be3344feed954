"""What the workflow needs to know of VBench before anything runs: jobs, checkpoints, and the rows of its tables."""

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from promptavideo.errors import InputError, require
from promptavideo.plan import Plan
from promptavideo.shards import shard_count
from promptavideo.vbench.checkpoints import describe, needed, read_checkpoints
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.dimensions import DIMENSIONS

TABLES = {"vbench": "main", "vbench100": "ablation"}
"""The tables by name, and the key of the configuration that names the set of each."""

ROWS = "resources/vbench/vbench.jsonl"
"""VBench's list of prompts."""

LEFT_OUT = "left-out"
"""The mark that `make` puts into the folder of VBench's environment where it cannot be made."""


class VBenchPlan:
    """Answers the rules' questions about VBench."""

    cache = "resources/vbench/cache"
    """The folder of all checkpoints."""
    dimensions = tuple(DIMENSIONS)

    def __init__(self, plan: Plan) -> None:
        self._plan, self._config = plan, plan.config
        self.checkpoints = read_checkpoints(plan.root / self._config.vbench.checkpoints)
        """Every checkpoint by name."""

    @staticmethod
    def kind(table: str) -> str:
        """What a table is: `main` or `ablation`."""
        return TABLES[table]

    @cached_property
    def tables(self) -> dict[str, str]:
        """The tables that the configuration asks for, and the evaluation set of each."""
        sets = {table: getattr(self._config.vbench, key) for table, key in TABLES.items()}
        return {table: name for table, name in sets.items() if name is not None}

    @staticmethod
    def records(names: Iterable[str]) -> list[str]:
        """The records that say that checkpoints are there."""
        return [f"resources/vbench/checkpoints/{name}.json" for name in names]

    def entry(self, checkpoint: str) -> str:
        """Where a checkpoint comes from, as JSON."""
        return json.dumps(self.checkpoints[checkpoint].model_dump(mode="json"), sort_keys=True)

    def describe(self, checkpoint: str) -> str:
        """A checkpoint in one line, for the list of what is missing."""
        return describe(checkpoint, self.checkpoints[checkpoint])

    def rows(self, *names: str) -> list[str]:
        """The file of VBench's prompts, if one of these sets is judged by it."""
        return [ROWS] if any(self.set(name).mode == "standard" for name in names) else []

    def judging(self, prompt_set: str) -> dict[str, Any]:
        """The evaluation sets that judge a prompt set by VBench's list, and how, as JSON can hold it."""
        return {
            name: entry.vbench.model_dump(mode="json")
            for name, entry in self._config.evaluation.sets.items()
            if entry.prompts == prompt_set and entry.vbench and entry.vbench.mode == "standard"
        }

    @property
    def python(self) -> str:
        """The interpreter that has vbench; a path counts from the repository root, where jobs run."""
        return self._config.vbench.python

    def check_python(self) -> None:
        """Check that there is an interpreter for VBench.

        Raises:
            InputError: There is none at the configured path.
        """
        if "/" in self.python and not (self._plan.root / self.python).is_file():
            raise InputError(
                f"vbench.python: {self.python} does not exist; make .venv-vbench/run makes the environment, or set "
                "vbench.python to `python` and run with conda (--sdm conda)"
            )

    @cached_property
    def left_out(self) -> bool:
        """Whether this run goes without VBench, since `make` could not make its environment; never at paper scale."""
        python = self._plan.root / self.python
        marked = "/" in self.python and python.parents[1].joinpath(LEFT_OUT).is_file()
        return marked and not python.is_file() and self._config.scale == "laptop"

    def set(self, name: str) -> VBenchSet:
        """How a set is judged."""
        return require(self._config.evaluation.sets[name].vbench, f"evaluation.sets.{name}.vbench: is missing")

    def checkpoints_of(self, *dimensions: str) -> list[str]:
        """The checkpoints that some dimensions need, each once."""
        return list(dict.fromkeys(name for one in dimensions for name in needed(self.checkpoints, one)))

    def checkpoints_needed(self) -> list[str]:
        """The checkpoints that the sets of the configuration need."""
        sets = self._config.evaluation.sets.values()
        return self.checkpoints_of(*(name for entry in sets if entry.vbench for name in entry.vbench.names))

    def results(self, generator: str, name: str, refiner: str) -> list[str]:
        """What the jobs of one evaluation write."""
        folder = f"results/{generator}/evaluation/{name}/{refiner}/vbench"
        return [
            f"{folder}/{dimension}/{number:04}.json"
            for dimension in self.set(name).names
            for number in range(self.shards(name, dimension))
        ]

    def shards(self, name: str, dimension: str) -> int:
        """How many jobs judge the videos of one refiner on a set in a dimension."""
        each = max(1, self._config.vbench.shard_size // self._config.evaluation.sets[name].replicates)
        return shard_count(self._prompts(name, dimension), each)

    def judgements(self, name: str, dimension: str) -> int:
        """How many videos of one refiner on a set are judged in a dimension, at most."""
        return self._prompts(name, dimension) * self._config.evaluation.sets[name].replicates

    def _prompts(self, name: str, dimension: str) -> int:
        """How many prompts of a set are judged in a dimension, at most."""
        prompts = self._plan.prompts(f"evaluation/{name}/{next(iter(self._config.refiners))}")  # the same of each
        standard = self.set(name).mode == "standard"  # each is judged for some dimensions only
        return min(prompts, DIMENSIONS[dimension].prompts) if standard else prompts

    def arms(self, generators: list[str], table: str) -> list[dict[str, str | None]]:
        """The rows of a table, with the files they come from; none where VBench is left out."""
        if self.left_out:
            return []
        name = self.tables[table]
        return [
            {
                "generator": generator,
                "set": name,
                "refiner": refiner,
                "prompts": f"{folder}/prompts.parquet",
                "vbench": f"{folder}/vbench/scores.parquet",
                "listing": f"{folder}/vbench/videos.json",
                "scores": f"{folder}/scores.parquet",
                "booster": self._plan.booster(generator, refiner),
            }
            for generator in generators
            for refiner in self._config.evaluation.compared(generator)
            for folder in [f"results/{generator}/evaluation/{name}/{refiner}"]
        ]

    def files(self, generators: list[str], table: str) -> list[str]:
        """The files that a table is made of."""
        kinds = ("prompts", "vbench", "listing", *(["scores"] if TABLES[table] == "ablation" else []))
        return [str(arm[kind]) for arm in self.arms(generators, table) for kind in kinds]
