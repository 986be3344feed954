"""The steps by which boosters learn: pairs, triples, and trainings."""

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from promptavideo.batches import Batch, Draw
from promptavideo.errors import InputError
from promptavideo.results import read_joined
from promptavideo.schemas import PAIRS, TRIPLES, read_table, write_table
from promptavideo.study import Study
from promptavideo.totals import Selected, outside

log = logging.getLogger(__name__)


def pairs(study: Study, track: str) -> None:
    """Select SFT pairs: of each prompt the best evolved text."""
    from promptavideo.evolution import select_pairs

    rule, objective = study.config.evolution, study.config.objectives
    scores = [_scores(study, batch, rule.thresholds) for batch in study.rounds(track)]
    selected = _reported(select_pairs(scores, rule, objective))
    write_table(selected, Path(study.layout.pairs(track)), PAIRS)


def triples(study: Study, track: str, name: str) -> None:
    """Select DPO triples: of each prompt a better and a worse candidate."""
    from promptavideo.preference import make_triples

    batch, rule = study.batch(track, name), study.config.preference
    if not isinstance(batch.source, Draw):
        raise InputError(f"{name} holds no candidates; known are {', '.join(study.config.boosters)}")
    scores = _scores(study, batch, rule.chosen.thresholds)
    selected = _reported(make_triples(scores, rule, study.config.objectives))
    write_table(selected, Path(study.files(batch).triples), TRIPLES)


def train(study: Study, home: str, name: str) -> None:
    """Train and save a booster's adapter; with several devices, start this process once for each."""
    from promptavideo.boosters import launch
    from promptavideo.devices import choose_device

    settings = study.config.booster
    if not launch.started():
        if settings.devices > 1:
            choose_device(settings.device, "booster.device", settings.devices)
            launch.relaunch(settings.devices, sys.argv)
        launch.keep_one_gpu()
    from promptavideo.boosters.chat import Instruction
    from promptavideo.boosters.load import read_chain
    from promptavideo.boosters.training import Run

    booster = study.owned(home, name)
    start = study.files_of(booster.start).folder if booster.start else None
    folder = Path(study.files_of(booster).folder)
    run = Run(
        output=folder,
        checkpoints=Path(study.layout.checkpoints(home)),
        previous=os.path.relpath(start, folder) if start else None,
        seed=study.config.seed,
        booster=settings,
    )
    chain = read_chain(Path(study.layout.model(settings.base)), Path(start) if start else None)
    tables = [read_table(Path(path), booster.entry.SCHEMA) for path in study.sources(booster)]
    data = pd.concat(tables, ignore_index=True)  # one prompt may be among those of several tracks
    instruction = Instruction(Path(settings.instruction))
    booster.entry.train(data, chain, instruction, booster.entry.settled(settings), run)


def _scores(study: Study, batch: Batch, thresholds: Iterable[str]) -> pd.DataFrame:
    """A batch's rewards, with what further judges found for thresholds."""
    return read_joined(study, batch, outside(dict.fromkeys(thresholds, 0.0), study.config.objectives))


def _reported(selected: Selected) -> pd.DataFrame:
    for line in selected.report:
        log.info(line)
    return selected.table
