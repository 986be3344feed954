"""Refiners compared on the rewards: the paper's Table 1."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.batches import Batch
from promptavideo.comparisons.base import FOLDER, Comparison, Made
from promptavideo.layout import REWARDS

if TYPE_CHECKING:
    from promptavideo.tables import Columns


class VideoScoreTable(Comparison):
    """Refiners compared on the rewards, and by the judges that only report."""

    PRINTED: ClassVar[tuple[str, str] | None] = ("Table 1", "table1_videoscore.csv")

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
