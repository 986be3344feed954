"""Groups of judges: what looks at a batch together, and gives one table of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.batches import Batch
from promptavideo.study import Study

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

VBENCH = "vbench"
"""The group of VBench's dimensions, which runs in an environment of its own."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a group found of a batch."""

    table: "pd.DataFrame"
    schema: "pa.DataFrameSchema"
    record: dict[str, Any]
    """What the group adds to the record of where its table comes from."""


class Group(ABC):
    """Judges that look at a batch together."""

    def __init__(self, study: Study, name: str) -> None:
        self.study, self.name = study, name

    def judges(self, track: str) -> dict[str, Any]:
        """The entries of its judges in a track, by name."""
        return {}

    @abstractmethod
    def decides(self, batch: Batch) -> dict[str, Any]:
        """What decides which results are put together, beside the results themselves."""

    @abstractmethod
    def results(self, batch: Batch) -> list[str]:
        """What its jobs write, whole tables and the records of how fast they were."""

    @abstractmethod
    def records(self, batch: Batch) -> list[str]:
        """The records that its models are there."""

    @abstractmethod
    def join(self, batch: Batch) -> Gathered:
        """Put the results of its jobs together.

        Raises:
            InputError: A result is missing, twice there or of another batch.
        """


class JudgeGroup(Group):
    """Judges of the configuration: the rewards, or one that only reports."""

    def judges(self, track: str) -> dict[str, Any]:
        """Their entries."""
        return dict(self.study.judging(self.name, track))

    def decides(self, batch: Batch) -> dict[str, Any]:
        """The metrics."""
        return {"metrics": [metric.name for metric in self.study.metrics(self.name, batch.track)]}

    def results(self, batch: Batch) -> list[str]:
        """A table of metrics and a record for each shard."""
        files, shards = self.study.files(batch), self.study.scoring_shards(batch, self.name)
        made = ((files.judged(self.name, shard), files.judging(self.name, shard)) for shard in shards)
        return [path for pair in made for path in pair]

    def records(self, batch: Batch) -> list[str]:
        """Of its judges' models."""
        return self.study.manifests_of(self.judges(batch.track).values())

    def join(self, batch: Batch) -> Gathered:
        """One row a video, with each metric raw and on the 0-5 scale."""
        from promptavideo import provenance, timing
        from promptavideo.schemas import PROMPTS, read_table, rewards, scores
        from promptavideo.scoring import gather

        files, metrics = self.study.files(batch), self.study.metrics(self.name, batch.track)
        shards = self.study.scoring_shards(batch, self.name)
        parts = [read_table(Path(files.judged(self.name, shard)), rewards(metrics)) for shard in shards]
        table = gather(read_table(Path(files.prompts), PROMPTS), parts, metrics)
        scoring = [timing.read(Path(files.judging(self.name, shard))) for shard in shards]
        record = {
            "judges": {name: judge.decides() for name, judge in self.judges(batch.track).items()},
            "videos": len(table),
            "prompts": int(table["prompt_id"].nunique()),
            "scored_on": provenance.scored_on(scoring),
            "scoring": provenance.jobs(scoring),
        }
        return Gathered(table, scores(metrics), record)


def group_of(study: Study, name: str) -> Group:
    """A group of judges by its name; one that there is not is refused once it is asked about a batch."""
    if name == VBENCH:
        from promptavideo.vbench.group import VBenchGroup

        return VBenchGroup(study, name)
    return JudgeGroup(study, name)
