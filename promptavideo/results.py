"""What a run has found, read back: the scores of a batch, and what was filmed."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptavideo.batches import Batch, Refine
from promptavideo.layout import REWARDS
from promptavideo.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.store import Entry, Store
    from promptavideo.tables import Arm
    from promptavideo.video import Clip


def store_of(study: Study, track: str) -> "Store":
    """What a track's generator filmed."""
    from promptavideo.store import Store

    return Store(Path(study.config.store), track, study.medium(track))


def read_scores(study: Study, batch: Batch, judges: str = REWARDS) -> "pd.DataFrame":
    """The metrics of a batch by a group of judges, a table of `schemas.scores`."""
    from promptavideo.schemas import read_table, scores

    return read_table(Path(study.files(batch).scores(judges)), scores(study.metrics(judges, batch.track)))


def read_joined(study: Study, batch: Batch, others: Collection[str]) -> "pd.DataFrame":
    """The rewards of a batch, and beside them some metrics that other judges found of it, raw."""
    from promptavideo.scoring import KEY

    table = read_scores(study, batch)
    for judges in batch.judges:
        if names := [metric.name for metric in study.metrics(judges, batch.track) if metric.name in others]:
            table = table.merge(read_scores(study, batch, judges)[[*KEY, *names]], on=KEY, validate="one_to_one")
    return table


def arm_of(study: Study, batch: Batch) -> "Arm":
    """The rewards of an evaluation."""
    from promptavideo.tables import Arm

    source = batch.source
    assert isinstance(source, Refine)
    return Arm(batch.track, source.set, source.refiner, read_scores(study, batch))


class FirstVideos:
    """The first video of each prompt of some evaluations of one track, by refiner, decoded when it is asked for."""

    def __init__(self, study: Study, batches: "Mapping[str, Batch]") -> None:
        """Read the scores and manifests of some batches, given by refiner."""
        self.refiners = list(batches)
        self._tables = {name: read_scores(study, batch) for name, batch in batches.items()}
        for name, table in self._tables.items():
            self._tables[name] = table[table["replicate"] == 0].set_index("prompt_id")
        self._stores, self._entries = {}, {}
        for name, batch in batches.items():
            store = self._stores[name] = store_of(study, batch.track)
            self._entries[name] = store.of_manifests(map(Path, study.manifests(batch)))

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts that all of them filmed, by id, sorted."""
        common = set.intersection(*(set(table.index) for table in self._tables.values()))
        first = next(iter(self._tables.values()))
        return {name: str(first.loc[name, "prompt"]) for name in sorted(common)}

    def text(self, refiner: str, prompt_id: str) -> str:
        """What was filmed."""
        return str(self._tables[refiner].loc[prompt_id, "refined"])

    def key(self, refiner: str, prompt_id: str) -> str:
        """The video's name in the store."""
        return str(self._tables[refiner].loc[prompt_id, "key"])

    def clip(self, refiner: str, prompt_id: str) -> "Clip":
        """The video.

        Raises:
            ScoreError: It is gone, was changed, or cannot be decoded; it is then removed with its manifest.
        """
        entry: tuple[Entry, Path] = self._entries[refiner][self.key(refiner, prompt_id)]
        return self._stores[refiner].read(*entry)
