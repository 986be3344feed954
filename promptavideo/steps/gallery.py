"""The step that makes the gallery."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from promptavideo.study import Study

if TYPE_CHECKING:
    from promptavideo.gallery.collect import Group

log = logging.getLogger(__name__)


def gallery(study: Study) -> None:
    """Copy the evaluation's videos for viewing, and write the page on which they play."""
    from promptavideo.gallery import collect, page
    from promptavideo.layout import GALLERY

    folder = Path(GALLERY).parent
    content = collect.collect(list(_groups(study)), folder, study.config.gallery)
    page.write(folder, content, collect.notes(content, study.config.scale))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    log.info(
        "%s: %d prompts, %d videos and images, %.1f MB",
        GALLERY, len(content["rows"]), len(content["posters"]), size / 1e6,
    )  # fmt: skip


def _groups(study: Study) -> Iterator["Group"]:
    """The refiners of each track on each of its sets that the rewards score."""
    from promptavideo.comparisons.base import refined
    from promptavideo.gallery.collect import Arm, Group
    from promptavideo.results import read_joined, store_of
    from promptavideo.tables import Columns

    for track in study.tracks:
        every = [(refined(one), one) for one in study.evaluations(track)]
        store, objective = store_of(study, track), study.objective(track)
        columns = Columns(study.config.objectives, study.config.evaluation.average).with_objective(objective)
        for name in study.scored_sets(track):
            rows = [(source.refiner, one) for source, one in every if source.set == name]
            judges = dict.fromkeys(judge for _, one in rows for judge in one.judges)
            here = {metric.name for judge in judges for metric in study.metrics(judge, track)}
            reported = [metric for metric in study.reported if metric.name in here]
            arms = [
                Arm(
                    refiner,
                    read_joined(study, one, [metric.name for metric in reported]),
                    store.of_manifests(map(Path, study.manifests(one))),
                )
                for refiner, one in rows
            ]
            yield Group(track, name, study.medium(track), store, objective, columns.average, reported, arms)
