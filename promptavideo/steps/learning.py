"""The steps by which boosters learn: pairs, triples, and trainings."""

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from promptavideo.batches import Batch, Draw
from promptavideo.errors import InputError, require
from promptavideo.results import read_joined
from promptavideo.schemas import PAIRS, TRIPLES, read_table, write_table
from promptavideo.study import Study
from promptavideo.timing import Timing
from promptavideo.totals import Selected, outside

log = logging.getLogger(__name__)


def pairs(study: Study, track: str) -> None:
    """Select SFT pairs: of each prompt the best evolved text."""
    from promptavideo.evolution import select_pairs

    rule, objective = study.config.evolution, study.objective(track)
    scores = [_scores(study, batch, rule.thresholds) for batch in study.rounds(track)]
    selected = _reported(select_pairs(scores, rule, objective))
    write_table(selected, Path(study.layout.pairs(track)), PAIRS)


def negatives(study: Study, track: str) -> None:
    """Derive negative prompts from the texts of the SFT pairs."""
    from promptavideo.negatives import pairs_of
    from promptavideo.operators.base import REFINE_PLACEHOLDERS, read_template

    config, layout = study.config, study.layout
    rule = require(config.negatives, "the section `negatives` is missing")
    operator = config.operators[rule.operator].load(rule.operator, Path(config.store))
    evolved, took = read_table(Path(layout.pairs(track)), PAIRS), Timing()
    with took.measure(len(evolved)):
        template = read_template(Path(rule.template), REFINE_PLACEHOLDERS)
        table, found = pairs_of(evolved, operator, template, rule, config.seed)
    log.info("%d negative prompts from %d texts", len(table), len(evolved))
    if said := found.report():
        log.warning("%s", said)
    took.circumstances = {"negatives": found.record()}
    took.write(Path(layout.negatives_record(track)))
    write_table(table, Path(layout.negatives(track)), PAIRS)


def triples(study: Study, track: str, name: str) -> None:
    """Select DPO triples: of each prompt a better and a worse candidate."""
    from promptavideo.preference import make_triples

    batch, rule = study.batch(track, name), study.config.preference
    if not isinstance(batch.source, Draw):
        raise InputError(f"{name} holds no candidates; known are {', '.join(study.config.boosters)}")
    scores = _scores(study, batch, rule.chosen.thresholds)
    if batch.source.learner.writes == "negative":
        scores = negatives_as_answers(scores)
    selected = _reported(make_triples(scores, rule, study.objective(track)))
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
    from promptavideo.pairs import origin_of

    booster = study.owned(home, name)
    settings = study.settings_of(booster)
    start = study.files_of(booster.start).folder if booster.start else None
    folder = Path(study.files_of(booster).folder)
    run = Run(
        output=folder,
        checkpoints=Path(study.layout.checkpoints(home)),
        previous=os.path.relpath(start, folder) if start else None,
        seed=study.config.seed,
        booster=settings,
        released=tuple(origin_of(one, Path(study.layout.pair_record(one))) for one in study.released(booster)),
    )
    chain = read_chain(Path(study.layout.model(settings.base)), Path(start) if start else None)
    tables = [read_table(Path(path), booster.entry.SCHEMA) for path in study.sources(booster)]
    data = pd.concat(tables, ignore_index=True)  # one prompt may be among those of several tracks
    instruction = Instruction(Path(settings.instruction))
    booster.entry.train(data, chain, instruction, booster.entry.settled(settings), run)


def negatives_as_answers(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of negative prompts for one text a prompt as those of answers about that text; rows without one go."""
    own = scores["negative"].notna()
    if not own.all():
        log.info("%d of %d videos have no negative prompt of their own and are left out", (~own).sum(), len(scores))
    found = scores[own].reset_index(drop=True)
    return found.assign(prompt=found["refined"], refined=found["negative"])


def _scores(study: Study, batch: Batch, thresholds: Iterable[str]) -> pd.DataFrame:
    """A batch's rewards, with what further judges found for thresholds."""
    return read_joined(study, batch, outside(dict.fromkeys(thresholds, 0.0), study.objective(batch.track)))


def _reported(selected: Selected) -> pd.DataFrame:
    for line in selected.report:
        log.info(line)
    return selected.table
