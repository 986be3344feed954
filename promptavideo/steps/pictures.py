"""The figures of videos: a contact sheet of each track, and the one that stands for the run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptavideo import qualitative as chosen
from promptavideo.files import write_text
from promptavideo.results import FirstVideos, arm_of
from promptavideo.study import Study
from promptavideo.tables import LAPTOP, Columns
from promptavideo.text import clean

if TYPE_CHECKING:
    from promptavideo.sheets import SheetRow


def contact_sheet(study: Study, track: str, prompts: int = 6) -> None:
    """Draw a contact sheet of the first prompts of a track, with their videos."""
    from promptavideo import sheets

    videos = FirstVideos(study, study.shown(track))
    path = Path(study.layout.track(track), "figures", "contact_sheet.png")
    sheets.contact_sheet(_rows(videos, list(videos.prompts)[:prompts]), path)


def qualitative(study: Study) -> None:
    """Draw videos of some prompts, for a paper, and write down how the prompts were chosen."""
    from promptavideo.sheets import strips

    config, shown, stem = study.config, study.qualitative, Path("results/figures/qualitative")
    first, videos = next(iter(shown.values())), FirstVideos(study, shown)
    columns = Columns(config.objectives, config.evaluation.average)
    gain = None
    if study.ranked:
        last, original = (arm_of(study, batch) for batch in study.ranked)
        gain = chosen.gain_of(last, original, columns)
    choice = chosen.choose(config.qualitative, videos.prompts, gain)
    frames, medium = config.qualitative.frames, study.medium(first.track)
    strips(_rows(videos, choice.prompt_ids), stem.with_suffix(".png"), stem.with_suffix(".pdf"), frames)
    said = chosen.caption(study.place(first), frames, choice, first.per_prompt, medium)
    scale = f" Gains are {LAPTOP}" if gain and config.scale == "laptop" else ""
    write_text(stem.with_suffix(".txt"), "\n\n".join([clean(said + scale), *_told(videos, choice, gain)]) + "\n")


def _rows(videos: FirstVideos, prompt_ids: Iterable[str]) -> "Sequence[SheetRow]":
    from promptavideo.sheets import SheetRow

    def row(one: str) -> SheetRow:
        shown = [(name, videos.text(name, one), videos.clip(name, one)) for name in videos.refiners]
        return SheetRow(videos.prompts[one], shown)

    return [row(one) for one in prompt_ids]


def _told(videos: FirstVideos, choice: chosen.Choice, gain: chosen.Gain | None) -> list[str]:
    """By prompt its gain, and the whole texts with the names of their videos in the store."""
    told = []
    for one in choice.prompt_ids:
        gained = f", gain of {gain.refiner} over {gain.over} {gain.by_prompt[one]:+.3f}" if gain else ""
        texts = [f"{name} ({videos.key(name, one)}): {clean(videos.text(name, one))}" for name in videos.refiners]
        told.append("\n".join([f"{clean(videos.prompts[one])} ({one}{gained})", *texts]))
    return told
