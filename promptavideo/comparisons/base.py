"""What every table of results is: its rows, what else decides it, and how it is written."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.batches import Batch, Refine
from promptavideo.layout import REWARDS
from promptavideo.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.tables import Arm, Columns

PAPER = "Prompt-A-Video (arXiv 2412.15156)"
FOLDER = Path("resources/paper")


@dataclass(frozen=True, eq=False)
class Made:
    """A table as it is written."""

    table: "pd.DataFrame"
    title: str
    notes: Sequence[str]
    origins: Sequence[dict[str, Any]]
    """Where each measured row comes from, in order; rows that the paper printed follow them."""
    shown: Sequence[str] | None = None
    """The columns that people read; all when absent."""


@dataclass(frozen=True)
class Figure:
    """The figure of a table, which `steps.tables.study_figure` draws."""

    title: str
    caption: str


class Comparison(ABC):
    """A table that compares refiners."""

    FIGURE: ClassVar[Figure | None] = None
    """Of the table of all tracks, if it has one."""

    PRINTED: ClassVar[tuple[str, str] | None] = None
    """The paper's table beside it, as people cite it, and its file in resources/paper."""

    def __init__(self, study: Study, name: str) -> None:
        self.study, self.name, self.config = study, name, study.config

    @property
    @abstractmethod
    def asked(self) -> bool:
        """Whether the configuration asks for it, so that the report shows it."""

    @property
    def possible(self) -> bool:
        """Whether it can be made, if only under its own name."""
        return self.asked

    @abstractmethod
    def rows(self, scope: str) -> list[Batch]:
        """What it compares, in order."""

    @abstractmethod
    def read(self, row: Batch) -> list[str]:
        """The files of a row."""

    @abstractmethod
    def make(self, rows: Sequence[Batch]) -> Made:
        """Make the table of its rows.

        Raises:
            InputError: The rows cannot be compared.
        """

    @property
    def columns(self) -> "Columns":
        """What it shows of the rewards."""
        from promptavideo.tables import Columns

        return Columns(self.config.objectives, self.config.evaluation.average)

    def files(self, scope: str) -> list[str]:
        """The files of its rows, the cards of the boosters behind them, and what the paper printed."""
        rows = self.rows(scope)
        read = [file for row in rows for file in self.read(row)]
        printed = [str(FOLDER / self.PRINTED[1])] if self.PRINTED else []
        return [*read, *self.study.cards(filter(None, map(self._writer, rows))), *printed]

    def decides(self, scope: str) -> dict[str, Any]:
        """What decides it beside its files."""
        said = self._said(refined(row).refiner for row in self.rows(scope))
        return {
            **({"remarks": said} if said else {}),
            "rows": [[row.track, row.name] for row in self.rows(scope)],
            "objective": self.config.objective,
            "bootstrap": self.config.evaluation.bootstrap.decides(),
            "scale": self.config.scale,
            "seed": self.config.seed,
            "published": self.study.paper_sources,
        }

    def write(self, scope: str) -> None:
        """Make it and write it, with where each row comes from."""
        from promptavideo import tables

        made, stem = self.make(self.rows(scope)), Path("results", scope, self.name)
        tables.write(made.table, stem, made.title, made.notes, made.shown)
        cited, file = self.PRINTED or ("", "")
        printed = {"source": f"{PAPER}, {cited}", "file": str(FOLDER / file)}
        tables.write_provenance(stem, [*made.origins, *[printed] * (len(made.table) - len(made.origins))])

    def remarks(self, origins: Sequence[dict[str, Any]]) -> list[str]:
        """What the records of its rows call for below it, and rows of images."""
        from promptavideo import provenance

        return [
            *self._images({origin["track"] for origin in origins}),
            *(f"{refiner}: {remark}" for refiner, remark in self._said(one["refiner"] for one in origins).items()),
            *provenance.remarks(origins, self.study.paper_sources),
        ]

    def _said(self, refiners: Iterable[str]) -> dict[str, str]:
        """{refiner: what its entry says below tables}, of some refiners and of those that they go on from."""
        found: dict[str, str] = {}
        for name in refiners:
            entry = self.config.refiners[name]
            for one in (name, *([entry.goes_on_from] if entry.goes_on_from else [])):
                if remark := getattr(self.config.refiners[one], "remark", None):
                    found[one] = remark
        return found

    def _images(self, tracks: set[str]) -> list[str]:
        """What is to be said of the rows of images."""
        from promptavideo.tables import IMAGES_NOTE

        found = [track for track in self.study.tracks if track in tracks and self.study.medium(track) == "image"]
        if not found:
            return []
        objective = self.study.objective(found[0])
        lacking = [metric.name for metric in self.config.objectives if metric not in objective]
        said = {"tracks": found, "lacking": lacking, "average": self.columns.with_objective(objective).average}
        return [IMAGES_NOTE.format(**{key: ", ".join(value) for key, value in said.items()})] if lacking else []

    def origin(self, row: Batch, judges: str, scores: "pd.DataFrame") -> dict[str, Any]:
        """Where a row comes from.

        Args:
            row: The row.
            judges: The group whose scores it is made of.
            scores: Its scores, or the prompts table that these are of.
        """
        from promptavideo import provenance
        from promptavideo.hardware import environment

        files, writer = self.study.files(row), self._writer(row)
        folder = Path(self.study.files_of(writer).folder) if writer else None
        others = (one for one in row.judges if one not in (REWARDS, judges))
        reported = [one for one in others if files.scores(one) in self.read(row)]
        return {
            "code": provenance.code_version(Path()),
            "environment": environment(provenance.ARITHMETIC),
            "scale": self.config.scale,
            "run_seed": self.config.seed,
            **provenance.row(_names(row), scores, provenance.origin(Path(files.scores(judges))), folder),
            **({"reported": {one: provenance.origin(Path(files.scores(one))) for one in reported}} if reported else {}),
        }

    def arm(self, row: Batch) -> "Arm":
        """A row's rewards, with what judges found that only report and have columns."""
        from promptavideo.results import read_joined
        from promptavideo.tables import Arm

        table = read_joined(self.study, row, [metric.name for metric in self.columns.reported])
        return Arm(row.track, refined(row).set, refined(row).refiner, table)

    def _writer(self, row: Batch) -> Any:
        return self.study.writer(row.track, refined(row).refiner)


def refined(row: Batch) -> Refine:
    """What a row's texts are of."""
    assert isinstance(row.source, Refine)
    return row.source


def _names(row: Batch) -> dict[str, str]:
    source = refined(row)
    return {"generator": row.generator, "track": row.track, "set": source.set, "refiner": source.refiner}
