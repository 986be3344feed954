"""The report: what was found, videos that play, tables and figures in one page."""

import tempfile
from pathlib import Path

from promptavideo import tables
from promptavideo.comparisons import shown
from promptavideo.findings import findings, warnings
from promptavideo.layout import GALLERY
from promptavideo.qualitative import gain_of
from promptavideo.report import CAPTIONS, HELD_OUT, Example, Opening, Played, ReportFigure, ReportTable, write_report
from promptavideo.results import FirstVideos, arm_of
from promptavideo.study import Study
from promptavideo.viewing import VIEWED, Size, write_copy

FIGURES = Path("results/figures")
COPIED = Size(256, 256)
"""Of the videos that the report plays."""


def report(study: Study) -> None:
    """Draw the scores by stage and write the report."""
    from promptavideo.figures import held_out, stage_scores

    names = list(shown(study))
    table = tables.read_videoscore_table(Path("results/tables/videoscore.csv"))
    stage_scores(table, FIGURES / "stages.png")
    if study.reported:
        held_out(table, FIGURES / "held_out.png")
    origins: dict[str, object] = {}
    for name in names:
        rows = tables.read_provenance(_stem(name))
        origins |= {f"{name}, row {number}": entry for number, entry in enumerate(rows, 1)}
    read = [ReportTable(*tables.read(_stem(name))) for name in names]
    gallery = Path(GALLERY).relative_to("results").as_posix()
    write_report(Path("results/report.html"), read, _figures(study), origins, _opening(study), gallery)


def _opening(study: Study) -> Opening:
    """What the boosters gain, and videos of a prompt on which they gain as usual."""
    average = (
        f"avg is the mean of {', '.join(study.config.evaluation.average)}; lines are 95 % intervals over prompts, and "
        "numbers in brackets gains over the original prompts. Hollow points are numbers that the paper printed."
    )
    figure = ReportFigure("Scores by refiner", FIGURES / "stages.png", average)
    if "gains" not in shown(study):
        return Opening([], [], figure, [])
    _, table, notes = tables.read(_stem("gains"), whole=True)
    sets = study.config.evaluation.sets
    replicates = {(track, name): one.replicates for track in study.tracks for name, one in sets.items()}
    found = findings(table, replicates, {track: study.one_shot(track) for track in study.tracks})
    examples = [_example(study, track) for track in study.tracks if study.played(track)]
    return Opening(found, warnings(notes), figure, examples)


def _example(study: Study, track: str) -> Example:
    """The prompt of the median gain of a track's last booster."""
    batches, medium = study.played(track), study.medium(track)
    original, last = batches["original"], [*batches.values()][-1]
    columns = tables.Columns(study.config.objectives, study.config.evaluation.average)
    gain = gain_of(arm_of(study, last), arm_of(study, original), columns)
    (prompt_id,) = gain.nearest_median(1)
    videos = FirstVideos(study, batches)
    played = [
        Played(name, videos.text(name, prompt_id), _copy(videos, name, prompt_id, track, study), medium)
        for name in videos.refiners
    ]
    first = f" Of {original.per_prompt} {medium}s a prompt, the first is shown." if original.per_prompt > 1 else ""
    said = (
        f"{study.place(original)}: the prompt of the median gain of {gain.refiner} over the original prompts "
        f"({gain.median:+.2f}, of {len(gain.by_prompt)} prompts), so a typical one and not the best.{first}"
    )
    return Example(videos.prompts[prompt_id], said, played)


def _copy(videos: FirstVideos, refiner: str, prompt_id: str, track: str, study: Study) -> bytes:
    """A video in a format that every browser plays."""
    medium = study.medium(track)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"copy{VIEWED[medium]}")
        write_copy(videos.clip(refiner, prompt_id), medium, path, COPIED)
        return path.read_bytes()


def _figures(study: Study) -> list[ReportFigure]:
    """The figures below the tables."""
    (said, *_) = (FIGURES / "qualitative.txt").read_text(encoding="utf-8").split("\n\n")
    drawn = [ReportFigure("Videos and their texts", FIGURES / "qualitative.png", said)]
    if study.reported:
        drawn.append(ReportFigure("Rewards and judges that nobody trained on", FIGURES / "held_out.png", HELD_OUT))
    for name, compared in shown(study).items():
        if compared.FIGURE:
            drawn.append(ReportFigure(compared.FIGURE.title, FIGURES / f"{name}.png", compared.FIGURE.caption))
    for track in study.tracks:
        for name in study.figures(track):
            title, caption = CAPTIONS[name]
            path = Path(study.layout.track(track), "figures", f"{name}.png")
            drawn.append(ReportFigure(f"{title}: {track}", path, caption))
    return drawn


def _stem(name: str) -> Path:
    return Path("results/tables", name)
