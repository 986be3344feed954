"""The report: tables, figures and their origin in one HTML file that needs nothing else."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from promptavideo.files import atomic_path
from promptavideo.tables import PAPER_SET, as_text, is_numeric
from promptavideo.text import clean

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


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A table with its title and the notes below it; rows with "paper" for their `set` or `source` are set apart."""

    title: str
    table: pd.DataFrame
    notes: Sequence[str]


@dataclass(frozen=True)
class ReportFigure:
    """A PNG file with its title and caption."""

    title: str
    path: Path
    caption: str


def write_report(
    path: Path, tables: Sequence[ReportTable], figures: Sequence[ReportFigure], provenance: Mapping[str, object]
) -> None:
    """Write one self-contained HTML file, images embedded. The same input gives the same bytes.

    Every text is escaped, and the page forbids scripts and any access to the network, so prompts may hold anything.

    Args:
        path: Target, `.html`.
        tables: Shown rounded, as in the Markdown files.
        figures: Shown in order.
        provenance: Where the numbers come from, by name; shown as JSON, folded.
    """
    html = page(
        "report.html.j2",
        tables=[_table(table) for table in tables],
        figures=[_figure(figure) for figure in figures],
        provenance=[
            (clean(name), json.dumps(value, indent=2, ensure_ascii=False)) for name, value in provenance.items()
        ],
    )
    with atomic_path(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="replace")  # JSON may carry lone surrogates


def page(template: str, **values: object) -> str:
    """A page made of one of the project's templates, in which every value is escaped."""
    environment = Environment(
        loader=PackageLoader("promptavideo"),
        autoescape=True,  # the file is called .j2, which select_autoescape would leave unescaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def _table(table: ReportTable) -> dict[str, object]:
    numeric = is_numeric(table.table)
    marks = [name for name in ("set", "source") if name in table.table]
    printed = (table.table[marks] == PAPER_SET).any(axis=1).tolist()
    cells = as_text(table.table).itertuples(index=False, name=None)
    return {
        "title": clean(table.title),
        "notes": [clean(note) for note in table.notes],
        "columns": list(zip(map(str, table.table.columns), numeric, strict=True)),
        "rows": [
            {"from_paper": paper, "cells": list(zip(map(clean, row), numeric, strict=True))}
            for row, paper in zip(cells, printed, strict=True)
        ],
    }


def _figure(figure: ReportFigure) -> dict[str, str]:
    return {
        "title": clean(figure.title),
        "caption": clean(figure.caption),
        "base64": base64.b64encode(figure.path.read_bytes()).decode("ascii"),
    }
