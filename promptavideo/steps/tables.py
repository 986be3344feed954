"""The steps that people read: tables, figures and the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from promptavideo import provenance, published, tables
from promptavideo.batches import Batch, Refine
from promptavideo.hardware import environment
from promptavideo.layout import REWARDS
from promptavideo.schemas import PROMPTS, VBENCH_SCORES, read_table
from promptavideo.steps.batches import read_joined, read_scores
from promptavideo.store import Store
from promptavideo.study import Study
from promptavideo.totals import total
from promptavideo.vbench.plan import TABLES


def videoscore(study: Study, scope: str) -> None:
    """Compare the refiners of all tracks, or of one, on the rewards and by the judges that only report."""
    config, batches = study.config, study.rows(study.compared(scope))
    columns = tables.Columns(config.objectives, config.evaluation.average, study.reported)
    arms = [_arm(study, batch, columns) for batch in batches]
    ours = tables.videoscore_table(arms, config.evaluation.bootstrap, columns)
    paper = Path("resources/paper")
    table = tables.with_paper_rows(ours, paper) if columns.numbers[:6] == tables.PAPER_COLUMNS.numbers[:6] else ours
    rows = [_origin(study, batch, REWARDS, arm.scores) for batch, arm in zip(batches, arms, strict=True)]
    remarks = provenance.remarks(rows, published.sources_at(config.scale, study.root))
    notes = tables.footnotes(table, config.scale, remarks, columns)
    stem = _stem(scope, "videoscore")
    tables.write(table, stem, "Refiners compared on the rewards", notes)
    printed = {"source": "Prompt-A-Video (arXiv 2412.15156), Table 1", "file": f"{paper}/table1_videoscore.csv"}
    tables.write_provenance(stem, [*rows, *[printed] * (len(table) - len(ours))])


def vbench(study: Study, scope: str, name: str) -> None:
    """Compare the refiners by VBench: the paper's Table 8, or the one of its ablations."""
    from promptavideo.vbench import table as vbench_tables
    from promptavideo.vbench.listing import read_listing

    plan, config = study.vbench, study.config
    batches, kind = plan.rows(study.compared(scope), name), TABLES[name]
    rows = [
        vbench_tables.Judged(
            batch.track,
            _refined(batch).refiner,
            read_table(Path(study.files(batch).scores("vbench")), VBENCH_SCORES),
            read_listing(Path(study.files(batch).listing)),
        )
        for batch in batches
    ]
    prompts = [read_table(Path(study.files(batch).prompts), PROMPTS) for batch in batches]
    origins = [_origin(study, batch, "vbench", table) for batch, table in zip(batches, prompts, strict=True)]
    bootstrap, columns = config.evaluation.bootstrap, tables.Columns(config.objectives, config.evaluation.average)
    shown: Sequence[str] = vbench_tables.SHOWN
    paper = Path("resources/paper/table8_vbench.csv")
    if kind == "ablation":
        for origin, batch in zip(origins, batches, strict=True):
            origin["rewards"] = provenance.origin(Path(study.files(batch).scores(REWARDS)))
        table = vbench_tables.ablation_table(
            rows, [_arm(study, batch, columns) for batch in batches], bootstrap, columns
        )
        title, shown = "Refiners compared on the ablations' prompts", vbench_tables.ablation_shown(columns)
        printed = 0
    else:
        ours = vbench_tables.vbench_table(rows, bootstrap)
        part = any(vbench_tables.part(row) for row in rows)
        table, title = ours if part else vbench_tables.with_paper_rows(ours, paper), "Refiners compared by VBench"
        printed = len(table) - len(ours)
    remarks = provenance.remarks(origins, published.sources_at(config.scale, study.root))
    notes = vbench_tables.notes(kind, rows, plan.tables[name], config.scale, remarks, columns)
    stem = _stem(scope, name)
    tables.write(table, stem, title, notes, shown)
    source = {"source": "Prompt-A-Video (arXiv 2412.15156), Table 8", "file": str(paper)}
    tables.write_provenance(stem, [*origins, *[source] * printed])


def learning_curves(study: Study, track: str) -> None:
    """Draw how a track's evolution and trainings went."""
    from promptavideo.figures import evolution_curve, training_curves

    folder, weights, objective = _figures(study, track), study.config.evolution.weights, study.config.objectives
    rounds = {number: read_scores(study, one, REWARDS) for number, one in enumerate(study.rounds(track))}
    evolution_curve(rounds, lambda scores: total(scores, objective, weights), folder / "evolution.png")
    logs = {one.name: pd.read_csv(study.files_of(one).log) for one in study.boosters(track)}
    training_curves(logs, folder / "training.png")


def contact_sheet(study: Study, track: str) -> None:
    """Draw a contact sheet of a track's videos with their prompts."""
    from promptavideo import figures

    figures.contact_sheet(_sheet(study, track), _figures(study, track) / "contact_sheet.png")


def report(study: Study) -> None:
    """Draw the scores by stage and write the report."""
    from promptavideo.figures import held_out, stage_scores
    from promptavideo.report import CAPTIONS, HELD_OUT, ReportFigure, ReportTable, write_report

    names = ["videoscore", *study.vbench.tables]
    folder = Path("results/figures")
    table = tables.read_videoscore_table(_stem("tables", "videoscore").with_suffix(".csv"))
    stage_scores(table, folder / "stages.png")
    average = f"Mean of {', '.join(study.config.evaluation.average)}."
    shown = [ReportFigure("Scores by refiner", folder / "stages.png", average)]
    if study.reported:
        held_out(table, folder / "held_out.png")
        shown.append(ReportFigure("Rewards and judges that nobody trained on", folder / "held_out.png", HELD_OUT))
    for track in study.tracks:
        drawn = CAPTIONS if study.boosters(track) else ["contact_sheet"]
        for name in drawn:
            title, caption = CAPTIONS[name]
            shown.append(ReportFigure(f"{title}: {track}", _figures(study, track) / f"{name}.png", caption))
    read = [ReportTable(*tables.read(_stem("tables", name))) for name in names]
    origins: dict[str, object] = {}
    for name in names:
        rows = tables.read_provenance(_stem("tables", name))
        origins |= {f"{name}, row {number}": entry for number, entry in enumerate(rows, 1)}
    write_report(Path("results/report.html"), read, shown, origins)


def _figures(study: Study, track: str) -> Path:
    return Path(study.layout.track(track), "figures")


def _stem(scope: str, name: str) -> Path:
    return Path("results", scope, name)


def _refined(batch: Batch) -> Refine:
    assert isinstance(batch.source, Refine)
    return batch.source


def _arm(study: Study, batch: Batch, columns: tables.Columns) -> tables.Arm:
    """One row's rewards, with what the judges found that only report and have columns."""
    table = read_joined(study, batch, [metric.name for metric in columns.reported])
    return tables.Arm(batch.track, _refined(batch).set, _refined(batch).refiner, table)


def _origin(study: Study, batch: Batch, judges: str, scores: pd.DataFrame) -> dict[str, Any]:
    """Where one row comes from."""
    files, source = study.files(batch), _refined(batch)
    writer = study.writer(batch.track, source.refiner)
    names = {"generator": batch.generator, "track": batch.track, "set": source.set, "refiner": source.refiner}
    row = provenance.row(
        names,
        scores,
        provenance.origin(Path(files.scores(judges))),
        Path(study.files_of(writer).folder) if writer else None,
    )
    others = [one for one in batch.judges if one != REWARDS] if judges == REWARDS else []
    reported = {one: provenance.origin(Path(files.scores(one))) for one in others}
    run: dict[str, Any] = {"code": provenance.code_version(Path()), "environment": environment(provenance.ARITHMETIC)}
    run |= {"scale": study.config.scale, "run_seed": study.config.seed}
    return run | row | ({"reported": reported} if reported else {})


def _sheet(study: Study, track: str, prompts: int = 6) -> Sequence[Any]:
    from promptavideo.figures import SheetRow

    shown, store = study.shown(track), Store(Path(study.config.store), track)
    scores = {refiner: read_scores(study, batch, REWARDS) for refiner, batch in shown.items()}
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
