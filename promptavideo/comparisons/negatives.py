"""The same texts filmed without negative prompts and with several kinds of them: the paper's Table 10."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptavideo.batches import Batch
from promptavideo.comparisons.base import FOLDER, Comparison, Made, refined
from promptavideo.layout import REWARDS


class NegativePromptsTable(Comparison):
    """Texts filmed without negative prompts and with several kinds of them: the paper's Table 10."""

    PRINTED = ("Table 10", "table10_negative_prompts.csv")

    @property
    def asked(self) -> bool:
        """Whether a track is compared by negative prompts."""
        return bool(self.rows("tables"))

    def rows(self, scope: str) -> list[Batch]:
        """On each set that is scored by the rewards: a refiner's texts, then the same with negative prompts."""
        return [
            self.study.evaluation(track, name, arm)
            for track in self.study.compared(scope)
            for name in self.study.scored_sets(track)
            for texts, arms in self._arms(track).items()
            for arm in (texts, *arms)
        ]

    def read(self, row: Batch) -> list[str]:
        """The rewards, and VBench's scores where it judges the set."""
        files = self.study.files(row)
        return [files.scores(REWARDS), *([files.scores("vbench")] if self.study.vbench.judged(row) else [])]

    def decides(self, scope: str) -> dict[str, Any]:
        """The columns too."""
        return super().decides(scope) | {"average": self.config.evaluation.average}

    def make(self, rows: Sequence[Batch]) -> Made:
        """With the paper's rows."""
        from promptavideo import negative_table as made
        from promptavideo.schemas import VBENCH_SCORES, read_table

        arms = []
        for row in rows:
            judged = self.study.vbench.judged(row)
            scores = read_table(Path(self.study.files(row).scores("vbench")), VBENCH_SCORES) if judged else None
            arms.append(made.NegativeArm(self._texts(row), self._label(row), self.arm(row), scores))
        table = made.negative_table(arms, self.config.evaluation.bootstrap, self.columns)
        table = made.with_paper_rows(table, FOLDER / self.PRINTED[1])
        origins = [self.origin(row, REWARDS, arm.arm.scores) for row, arm in zip(rows, arms, strict=True)]
        notes = made.notes(arms, self.config.scale, self.remarks(origins), self.columns)
        return Made(table, "Negative prompts compared", notes, origins, made.shown(table))

    def _arms(self, track: str) -> dict[str, list[str]]:
        """{refiner: those that give its texts negative prompts} of those that a track is compared by."""
        arms: dict[str, list[str]] = {}
        for name in self.config.evaluation.compared(track):
            entry = self.config.refiners[name]
            if entry.negates and entry.goes_on_from:
                arms.setdefault(entry.goes_on_from, []).append(name)
        return arms

    def _texts(self, row: Batch) -> str:
        """The refiner of a row's texts."""
        return self.config.refiners[refined(row).refiner].goes_on_from or refined(row).refiner

    def _label(self, row: Batch) -> str:
        """What stands for a row's negative prompts."""
        from promptavideo.negative_table import NONE

        entry = self.config.refiners[refined(row).refiner]
        return refined(row).refiner if entry.negates else NONE
