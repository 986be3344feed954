"""The steps that people read: tables, figures and the report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from promptavideo import tables
from promptavideo.comparisons import comparisons, shown
from promptavideo.errors import InputError
from promptavideo.results import read_scores, store_of
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


def contact_sheet(study: Study, track: str) -> None:
    """Draw a contact sheet of a track's videos with their prompts."""
    from promptavideo import figures

    figures.contact_sheet(_sheet(study, track), _figures(study, track) / "contact_sheet.png")


def report(study: Study) -> None:
    """Draw the scores by stage and write the report."""
    from promptavideo.figures import held_out, stage_scores
    from promptavideo.report import CAPTIONS, HELD_OUT, ReportFigure, ReportTable, write_report

    names = list(shown(study))
    folder = Path("results/figures")
    table = tables.read_videoscore_table(_stem("tables", "videoscore").with_suffix(".csv"))
    stage_scores(table, folder / "stages.png")
    average = f"Mean of {', '.join(study.config.evaluation.average)}."
    drawn = [ReportFigure("Scores by refiner", folder / "stages.png", average)]
    if study.reported:
        held_out(table, folder / "held_out.png")
        drawn.append(ReportFigure("Rewards and judges that nobody trained on", folder / "held_out.png", HELD_OUT))
    for name, compared in shown(study).items():
        if compared.FIGURE:
            drawn.append(ReportFigure(compared.FIGURE.title, folder / f"{name}.png", compared.FIGURE.caption))
    for track in study.tracks:
        for name in study.figures(track):
            title, caption = CAPTIONS[name]
            drawn.append(ReportFigure(f"{title}: {track}", _figures(study, track) / f"{name}.png", caption))
    read = [ReportTable(*tables.read(_stem("tables", name))) for name in names]
    origins: dict[str, object] = {}
    for name in names:
        rows = tables.read_provenance(_stem("tables", name))
        origins |= {f"{name}, row {number}": entry for number, entry in enumerate(rows, 1)}
    write_report(Path("results/report.html"), read, drawn, origins)


def _figures(study: Study, track: str) -> Path:
    return Path(study.layout.track(track), "figures")


def _stem(scope: str, name: str) -> Path:
    return Path("results", scope, name)


def _sheet(study: Study, track: str, prompts: int = 6) -> Sequence[Any]:
    from promptavideo.figures import SheetRow

    shown, store = study.shown(track), store_of(study, track)
    scores = {refiner: read_scores(study, batch) for refiner, batch in shown.items()}
    filmed = {refiner: store.of_manifests(map(Path, study.manifests(batch))) for refiner, batch in shown.items()}
    firsts = {refiner: table[table["replicate"] == 0].set_index("prompt_id") for refiner, table in scores.items()}
    chosen = sorted(set.intersection(*(set(table.index) for table in firsts.values())))[:prompts]
    return [
        SheetRow(
            prompt=next(iter(firsts.values())).loc[prompt_id, "prompt"],
            videos=[
                (refiner, table.loc[prompt_id, "refined"], store.read(*filmed[refiner][table.loc[prompt_id, "key"]]))
                for refiner, table in firsts.items()
            ],
        )
        for prompt_id in chosen
    ]
