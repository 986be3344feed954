"""The tables of results, each by its name: what it is made of, what else decides it, and how it is made.

A table compares what refiners wrote for all tracks (scope `tables`) or for one (scope `TRACK/tables`). One rule makes
them all (`rules/report.smk`). Another table is a class here and a line in `COMPARISONS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.batches import Batch, Refine
from promptavideo.layout import REWARDS
from promptavideo.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.tables import Arm, Columns
    from promptavideo.vbench.table import Judged

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


class Comparison(ABC):
    """A table that compares refiners."""

    PRINTED: ClassVar[tuple[str, str] | None] = None
    """The paper's table beside it, as people cite it, and its file in resources/paper."""

    def __init__(self, study: Study, name: str) -> None:
        self.study, self.name, self.config = study, name, study.config

    @property
    @abstractmethod
    def asked(self) -> bool:
        """Whether the configuration asks for it, so that the report shows it."""

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
        return {
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
        """What the records of its rows call for below it."""
        from promptavideo import provenance

        return provenance.remarks(origins, self.study.paper_sources)

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
        reported = [one for one in row.judges if one != REWARDS] if judges == REWARDS else []
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


class VideoScoreTable(Comparison):
    """Refiners compared on the rewards, and by the judges that only report."""

    PRINTED = ("Table 1", "table1_videoscore.csv")

    @property
    def asked(self) -> bool:
        """Always."""
        return True

    @property
    def columns(self) -> "Columns":
        """The rewards, and what is only reported."""
        from promptavideo.tables import Columns

        return Columns(self.config.objectives, self.config.evaluation.average, self.study.reported)

    def rows(self, scope: str) -> list[Batch]:
        """All evaluations that are scored by the rewards."""
        tracks = self.study.compared(scope)
        return [one for track in tracks for one in self.study.evaluations(track) if REWARDS in one.judges]

    def read(self, row: Batch) -> list[str]:
        """The scores of each group of judges."""
        return list(map(self.study.files(row).scores, row.judges))

    def decides(self, scope: str) -> dict[str, Any]:
        """The columns too."""
        columns = {
            "average": self.config.evaluation.average,
            "reported": [metric.name for metric in self.study.reported],
        }
        return super().decides(scope) | columns

    def make(self, rows: Sequence[Batch]) -> Made:
        """With the paper's rows where its columns are the same."""
        from promptavideo import tables

        columns = self.columns
        arms = [self.arm(row) for row in rows]
        table = tables.videoscore_table(arms, self.config.evaluation.bootstrap, columns)
        if columns.numbers[:6] == tables.PAPER_COLUMNS.numbers[:6]:
            table = tables.with_paper_rows(table, FOLDER)
        origins = [self.origin(row, REWARDS, arm.scores) for row, arm in zip(rows, arms, strict=True)]
        notes = tables.footnotes(table, self.config.scale, self.remarks(origins), columns)
        return Made(table, "Refiners compared on the rewards", notes, origins)


class VBenchTable(Comparison):
    """Refiners compared by VBench: the paper's Table 8."""

    PRINTED: ClassVar[tuple[str, str] | None] = ("Table 8", "table8_vbench.csv")
    KEY: ClassVar[str] = "main"
    """The key of the configuration that names its evaluation set."""

    @property
    def set(self) -> str | None:
        """Its evaluation set."""
        name: str | None = getattr(self.config.vbench, self.KEY)
        return name

    @property
    def asked(self) -> bool:
        """Whether it has a set."""
        return self.set is not None

    def rows(self, scope: str) -> list[Batch]:
        """The evaluations of its set; none where VBench is left out."""
        if self.study.vbench.left_out:
            return []
        every = (one for track in self.study.compared(scope) for one in self.study.evaluations(track))
        return [one for one in every if refined(one).set == self.set]

    def read(self, row: Batch) -> list[str]:
        """VBench's scores, and the prompts and videos that they are of."""
        files = self.study.files(row)
        return [files.prompts, files.scores("vbench"), files.listing]

    def make(self, rows: Sequence[Batch]) -> Made:
        """With the paper's rows where the whole of VBench's list was judged."""
        from promptavideo.vbench import table as vbench

        judged, origins = self.judged(rows)
        table = vbench.vbench_table(judged, self.config.evaluation.bootstrap)
        if not any(map(vbench.part, judged)):
            table = vbench.with_paper_rows(table, FOLDER / "table8_vbench.csv")
        notes = vbench.notes("main", judged, str(self.set), self.config.scale, self.remarks(origins))
        return Made(table, "Refiners compared by VBench", notes, origins, vbench.SHOWN)

    def judged(self, rows: Sequence[Batch]) -> "tuple[list[Judged], list[dict[str, Any]]]":
        """What VBench found of each row, and where the row comes from."""
        from promptavideo.schemas import PROMPTS, VBENCH_SCORES, read_table
        from promptavideo.vbench.listing import read_listing
        from promptavideo.vbench.table import Judged

        judged, origins = [], []
        for row in rows:
            files = self.study.files(row)
            scores = read_table(Path(files.scores("vbench")), VBENCH_SCORES)
            judged.append(Judged(row.track, refined(row).refiner, scores, read_listing(Path(files.listing))))
            origins.append(self.origin(row, "vbench", read_table(Path(files.prompts), PROMPTS)))
        return judged, origins


class AblationTable(VBenchTable):
    """Refiners compared on the ablations' prompts: the rewards beside two of VBench's dimensions."""

    PRINTED = None
    KEY = "ablation"

    def read(self, row: Batch) -> list[str]:
        """The rewards too."""
        return [*super().read(row), self.study.files(row).scores(REWARDS)]

    def decides(self, scope: str) -> dict[str, Any]:
        """The columns too."""
        return super().decides(scope) | {"average": self.config.evaluation.average}

    def make(self, rows: Sequence[Batch]) -> Made:
        """Without rows of the paper, which printed none of this form."""
        from promptavideo import provenance
        from promptavideo.vbench import table as vbench

        judged, origins = self.judged(rows)
        for origin, row in zip(origins, rows, strict=True):
            origin["rewards"] = provenance.origin(Path(self.study.files(row).scores(REWARDS)))
        bootstrap, columns = self.config.evaluation.bootstrap, self.columns
        table = vbench.ablation_table(judged, [self.arm(row) for row in rows], bootstrap, columns)
        notes = vbench.notes("ablation", judged, str(self.set), self.config.scale, self.remarks(origins), columns)
        title = "Refiners compared on the ablations' prompts"
        return Made(table, title, notes, origins, vbench.ablation_shown(columns))


COMPARISONS: dict[str, type[Comparison]] = {
    "videoscore": VideoScoreTable,
    "vbench": VBenchTable,
    "vbench100": AblationTable,
}


def comparisons(study: Study) -> dict[str, Comparison]:
    """The tables that the configuration asks for, by name."""
    every = {name: kind(study, name) for name, kind in COMPARISONS.items()}
    return {name: table for name, table in every.items() if table.asked}


def refined(row: Batch) -> Refine:
    """What a row's texts are of."""
    assert isinstance(row.source, Refine)
    return row.source


def _names(row: Batch) -> dict[str, str]:
    source = refined(row)
    return {"generator": row.generator, "track": row.track, "set": source.set, "refiner": source.refiner}
