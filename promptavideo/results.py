"""What a run has found, read back: the scores of a batch, and what was filmed."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from promptavideo.batches import Batch
from promptavideo.layout import REWARDS
from promptavideo.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.store import Store


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
