"""The steps that people read: tables, and figures of them."""

from functools import partial
from pathlib import Path

import pandas as pd

from promptavideo import tables
from promptavideo.comparisons import comparisons
from promptavideo.errors import InputError
from promptavideo.results import read_scores
from promptavideo.study import Study
from promptavideo.totals import total


def compare(study: Study, scope: str, name: str) -> None:
    """Make one of the tables that compare refiners, of all tracks (scope `tables`) or of one (`TRACK/tables`)."""
    found = comparisons(study)
    if name not in found:
        raise InputError(f"there is no table {name!r}; known are {', '.join(found)}")
    found[name].write(scope)


def evolution_curve(study: Study, track: str) -> None:
    """Draw how a track's evolution went."""
    from promptavideo import figures

    weights, objective = study.config.evolution.weights, study.objective(track)
    rounds = {number: read_scores(study, one) for number, one in enumerate(study.rounds(track))}
    totals = partial(total, objective=objective, weights=weights)
    path = _figures(study, track) / "evolution.png"
    figures.evolution_curve(rounds, totals, path, study.config.evaluation.bootstrap)


def training_curves(study: Study, track: str) -> None:
    """Draw how the trainings of a track's boosters went."""
    from promptavideo import figures

    logs = {one.name: pd.read_csv(study.files_of(one).log) for one in study.boosters(track)}
    figures.training_curves(logs, _figures(study, track) / "training.png")


def study_figure(study: Study, name: str) -> None:
    """Draw the figure of one of the tables of all tracks."""
    from promptavideo import figures

    draw = {"convergence": figures.convergence, "transfer": figures.transfer}
    if name not in draw:
        raise InputError(f"there is no figure of a table {name!r}; known are {', '.join(draw)}")
    _, table, _ = tables.read(_stem("tables", name), whole=True)
    draw[name](table, Path("results/figures", f"{name}.png"))


def evolution_story(study: Study, track: str) -> None:
    """Tell the evolution of some prompts of a track, round by round, in Markdown and as a page."""
    from promptavideo import story

    rounds = [read_scores(study, one) for one in study.rounds(track)]
    told = story.tell(rounds, study.config.evolution, study.objective(track), track)
    printed = story.read_printed(Path("resources/paper/table5_first_iteration.csv"))
    story.write(told, printed, study.config.scale, Path(study.layout.track(track), "examples", "evolution"))


def _figures(study: Study, track: str) -> Path:
    return Path(study.layout.track(track), "figures")


def _stem(scope: str, name: str) -> Path:
    return Path("results", scope, name)
