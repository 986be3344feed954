"""The report: what was found, tables, figures and their origin in one HTML file that needs nothing else."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from promptavideo.compact import INTERVAL_NOTE, Display, compact
from promptavideo.files import atomic_path
from promptavideo.findings import Finding
from promptavideo.pages import page
from promptavideo.text import clean
from promptavideo.video import Filmed

CAPTIONS = {
    "evolution": ("Evolution", "Best and mean total by round, with 95 % intervals over prompts."),
    "training": ("Training", "Losses of SFT and DPO; reward margins and accuracies of DPO."),
    "contact_sheet": ("Videos", "The first prompts of the evaluation set, filmed as written and as refined."),
}
"""Title and caption of a track's figures, by file."""

HELD_OUT = (
    "Paired differences to the original prompts with 95 % intervals, and the length of the texts. Where the rewards "
    "rise and the held-out judges fall, a booster has learned to please the rewards."
)
"""Caption of the figure of judges that only report."""

MIME: Mapping[Filmed, str] = {"video": "video/mp4", "image": "image/jpeg"}
"""Of copies for people to look at (`viewing.write_copy`)."""


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A table with its title and the notes below it; rows that the paper printed become a table of their own."""

    title: str
    table: pd.DataFrame
    notes: Sequence[str]


@dataclass(frozen=True)
class ReportFigure:
    """A PNG file with its title and caption."""

    title: str
    path: Path
    caption: str


@dataclass(frozen=True)
class Played:
    """A video or image that the page shows, and the text that it was filmed from."""

    label: str
    text: str
    copy: bytes
    """As `viewing.write_copy` makes it."""
    medium: Filmed


@dataclass(frozen=True)
class Example:
    """One prompt as several refiners have it filmed, with how it was chosen."""

    prompt: str
    caption: str
    played: Sequence[Played]


@dataclass(frozen=True)
class Opening:
    """What the page begins with."""

    findings: Sequence[Finding]
    warnings: Sequence[str]
    """What must be said of the findings' numbers right there."""
    figure: ReportFigure
    examples: Sequence[Example]


def write_report(
    path: Path,
    tables: Sequence[ReportTable],
    figures: Sequence[ReportFigure],
    provenance: Mapping[str, object],
    opening: Opening | None = None,
    gallery: str | None = None,
) -> None:
    """Write one self-contained HTML file, images embedded. The same input gives the same bytes.

    Every text is escaped, and the page forbids scripts and any access to the network, so prompts may hold anything.

    Args:
        path: Target, `.html`.
        tables: Shown rounded, as `compact` has them.
        figures: Shown in order.
        provenance: Where the numbers come from, by name; shown as JSON, folded.
        opening: What the page begins with, if anything was found.
        gallery: The page that shows all videos, relative to `path`, if there is one.
    """
    html = page(
        "report.html.j2",
        opening=_opening(opening) if opening else None,
        gallery=gallery,
        tables=[_table(table) for table in tables],
        figures=[_figure(figure) for figure in figures],
        provenance=[
            (clean(name), json.dumps(value, indent=2, ensure_ascii=False)) for name, value in provenance.items()
        ],
    )
    with atomic_path(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="replace")  # JSON may carry lone surrogates


def _table(table: ReportTable) -> dict[str, object]:
    displays = compact(table.table)
    added = [INTERVAL_NOTE] if any(one.intervals for one in displays) else []
    return {
        "title": clean(table.title),
        "notes": [clean(note) for note in (*table.notes, *added)],
        "displays": [_display(one) for one in displays],
    }


def _display(display: Display) -> dict[str, object]:
    numeric = [column.numeric for column in display.columns]
    return {
        "printed": display.printed,
        "dense": display.dense,
        "shared": [(name, clean(value)) for name, value in display.shared],
        "empty": display.empty,
        "columns": [(column.name.split("_"), column.numeric) for column in display.columns],
        "rows": [
            [(clean(cell.value), cell.half, number) for cell, number in zip(row, numeric, strict=True)]
            for row in display.rows
        ],
    }


def _opening(opening: Opening) -> dict[str, object]:
    return {
        "findings": [
            {"headline": clean(one.headline), "others": [clean(other) for other in one.others]}
            for one in opening.findings
        ],
        "warnings": [clean(one) for one in opening.warnings],
        "figure": _figure(opening.figure),
        "examples": [
            {
                "prompt": clean(example.prompt),
                "caption": clean(example.caption),
                "played": [_played(one) for one in example.played],
            }
            for example in opening.examples
        ],
    }


def _played(one: Played) -> dict[str, str]:
    data = base64.b64encode(one.copy).decode("ascii")
    source = f"data:{MIME[one.medium]};base64,{data}"
    return {"label": clean(one.label), "text": clean(one.text), "source": source, "medium": one.medium}


def _figure(figure: ReportFigure) -> dict[str, str]:
    return {
        "title": clean(figure.title),
        "caption": clean(figure.caption),
        "base64": base64.b64encode(figure.path.read_bytes()).decode("ascii"),
    }
