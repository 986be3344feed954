"""What the workflow needs to know of VBench before anything runs: jobs and checkpoints."""

from functools import cached_property

from promptavideo.batches import Batch, Refine
from promptavideo.errors import InputError, require
from promptavideo.shards import shard_count, shard_names
from promptavideo.study import Study
from promptavideo.vbench.checkpoints import read_checkpoints
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.dimensions import DIMENSIONS

LEFT_OUT = "left-out"
"""The mark that `make` puts into the folder of VBench's environment where it cannot be made."""


class VBenchPlan:
    """Answers questions about VBench."""

    def __init__(self, study: Study) -> None:
        self._study, self._config = study, study.config
        self.checkpoints = read_checkpoints(study.root / self._config.vbench.checkpoints)
        """Every checkpoint by name."""

    def records(self, *dimensions: str) -> list[str]:
        """The records that the checkpoints of some dimensions are there."""
        return [self._study.layout.checkpoint(name) for name in self.checkpoints_of(*dimensions)]

    def list_of(self, *settings: VBenchSet) -> list[str]:
        """The file of VBench's prompts, if something is judged by it."""
        return [self._study.layout.vbench_rows] if any(one.mode == "standard" for one in settings) else []

    def judging(self, prompt_set: str) -> dict[str, VBenchSet]:
        """The evaluation sets that judge a prompt set by VBench's list, and how."""
        return {
            name: entry.vbench
            for name, entry in self._config.evaluation.sets.items()
            if entry.prompts == prompt_set and entry.vbench and entry.vbench.mode == "standard"
        }

    def check_python(self) -> None:
        """Check that there is an interpreter for VBench.

        Raises:
            InputError: There is none at the configured path.
        """
        python = self._config.vbench.python
        if "/" in python and not (self._study.root / python).is_file():
            raise InputError(
                f"vbench.python: {python} does not exist; make .venv-vbench/run makes the environment, or set "
                "vbench.python to `python` and run with conda (--sdm conda)"
            )

    @cached_property
    def left_out(self) -> bool:
        """Whether this run goes without VBench, since `make` could not make its environment; never at paper scale."""
        python = self._study.root / self._config.vbench.python
        marked = "/" in self._config.vbench.python and python.parents[1].joinpath(LEFT_OUT).is_file()
        return marked and not python.is_file() and self._config.scale == "laptop"

    def set_of(self, batch: Batch) -> VBenchSet:
        """How a batch is judged.

        Raises:
            InputError: Its set is not judged by VBench.
        """
        name = batch.source.set if isinstance(batch.source, Refine) else batch.name
        entry = self._config.evaluation.sets.get(name)
        return require(entry.vbench if entry else None, f"evaluation.sets.{name}.vbench: is missing")

    def judged(self, batch: Batch) -> bool:
        """Whether a table shows VBench's judgements of a batch."""
        shown = (self._config.vbench.main, self._config.vbench.ablation)
        if not isinstance(batch.source, Refine) or self._study.medium(batch.track) != "video":
            return False
        return batch.source.set in shown and not self.left_out

    def checkpoints_of(self, *dimensions: str) -> list[str]:
        """The checkpoints that some dimensions need, each once."""
        entries = self.checkpoints.items()
        return list(dict.fromkeys(name for one in dimensions for name, entry in entries if one in entry.dimensions))

    def checkpoints_needed(self) -> list[str]:
        """The records of the checkpoints that the sets of the configuration need."""
        sets = self._config.evaluation.sets.values()
        return self.records(*(name for entry in sets if entry.vbench for name in entry.vbench.names))

    def jobs(self, batch: Batch) -> list[tuple[str, str]]:
        """The dimension and the shard of each job that judges a batch."""
        return [(name, shard) for name in self.set_of(batch).names for shard in self.shards(batch, name)]

    def results(self, batch: Batch) -> list[str]:
        """What these jobs write."""
        return [self._study.files(batch).dimension(name, shard) for name, shard in self.jobs(batch)]

    def shards(self, batch: Batch, dimension: str) -> list[str]:
        """The names of the jobs that judge a batch in a dimension."""
        each = max(1, self._config.vbench.shard_size // batch.per_prompt)
        return shard_names(shard_count(self._prompts(batch, dimension), each))

    def judgements(self, batch: Batch, dimension: str) -> int:
        """How many videos of a batch are judged in a dimension, at most."""
        return self._prompts(batch, dimension) * batch.per_prompt

    def _prompts(self, batch: Batch, dimension: str) -> int:
        prompts = self._study.prompts(batch)
        standard = self.set_of(batch).mode == "standard"  # each is judged for some dimensions only
        return min(prompts, DIMENSIONS[dimension].prompts) if standard else prompts
