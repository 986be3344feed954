"""What learning costs: the videos filmed for it, each counted once, and the hours that filming them took."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from promptavideo import timing
from promptavideo.batches import Batch
from promptavideo.store import read_manifest
from promptavideo.study import Study
from promptavideo.timing import Timing


@dataclass(frozen=True, eq=False)
class Filmed:
    """The videos of one batch, and the jobs that filmed them."""

    videos: frozenset[tuple[str, str]]
    """Each with its generator and its key."""
    jobs: tuple[Timing, ...] = ()
    """Their records; what a job found in the store is not among its items."""

    @property
    def seconds_each(self) -> float:
        """Seconds of one device for one video, the models' loading aside; NaN where no job filmed anything."""
        items = sum(job.items for job in self.jobs)
        return sum(job.seconds for job in self.jobs) / items if items else math.nan


@dataclass(frozen=True)
class Price:
    """What some batches cost together."""

    videos: int
    hours: float
    """Of the devices that filmed; NaN where a batch with videos of its own was never measured."""
    devices: tuple[str, ...]
    """Their names, each once."""


def price(batches: Iterable[Filmed]) -> Price:
    """What batches cost together; a video that several of them show counts for the first.

    A batch's hours are its videos times the seconds of those that were measured: a job that was killed recorded
    nothing, and the one after it only what it filmed itself.
    """
    seen: set[tuple[str, str]] = set()
    hours, devices = 0.0, dict[str, None]()
    for batch in batches:
        new = batch.videos - seen
        seen |= new
        if new:
            hours += len(new) * batch.seconds_each / 3600
            devices |= dict.fromkeys(job.device for job in batch.jobs if job.items)
    return Price(len(seen), hours, tuple(devices))


def read_filmed(study: Study, batch: Batch) -> Filmed:
    """What was filmed for a batch, from its manifests and the records beside them."""
    entries = (entry for path in study.manifests(batch) for entry in read_manifest(Path(path)))
    jobs = (timing.read(Path(path)) for path in study.filmings(batch))
    return Filmed(frozenset((batch.generator, entry.key) for entry in entries), tuple(jobs))
