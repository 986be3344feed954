"""Refiners of text-to-image generators compared by the Human Preference Score, style by style: HPSv2's benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptavideo.batches import Batch
from promptavideo.comparisons.base import FOLDER, Comparison, Made, refined
from promptavideo.metrics import HPS


class HpsTable(Comparison):
    """Refiners of images compared by HPS on sets whose prompts have styles; the paper prints no number of its own."""

    PRINTED = ("its claim about HPSv2", "hpsv2.csv")

    @property
    def asked(self) -> bool:
        """Whether a track of images has a set with styles that a judge looks at for HPS."""
        return bool(self.rows("tables"))

    def rows(self, scope: str) -> list[Batch]:
        """By track of images, the evaluations of each set that names styles."""
        tracks = [track for track in self.study.compared(scope) if self.study.medium(track) == "image"]
        every = (one for track in tracks for one in self.study.evaluations(track))
        return [one for one in every if self._styles(one) and self._judges(one)]

    def read(self, row: Batch) -> list[str]:
        """The scores, and the prompts' styles."""
        return [self.study.files(row).scores(self._judges(row)), self.study.layout.prompt_set(row.prompts)]

    def decides(self, scope: str) -> dict[str, Any]:
        """The styles, and who judges."""
        rows = self.rows(scope)
        judged = {refined(row).set: [self._styles(row), self._judges(row)] for row in rows}
        return super().decides(scope) | {"judged": judged}

    def make(self, rows: Sequence[Batch]) -> Made:
        """With a row of the paper, which is empty."""
        from promptavideo import hps_table as made
        from promptavideo.prompts import check_styles
        from promptavideo.results import read_scores
        from promptavideo.schemas import PROMPT_SET, read_table
        from promptavideo.tables import Arm

        arms, origins = [], []
        for row in rows:
            scores = read_scores(self.study, row, self._judges(row))
            prompts = read_table(Path(self.study.layout.prompt_set(row.prompts)), PROMPT_SET)
            check_styles(refined(row).set, self._styles(row), row.prompts, prompts)
            origins.append(self.origin(row, self._judges(row), scores))
            arm = Arm(row.track, refined(row).set, refined(row).refiner, scores)
            seen = origins[-1]["scores"].get("tokens_seen")
            arms.append(made.HpsArm(arm, prompts, tuple(self._styles(row)), seen))
        table = made.with_paper_row(made.hps_table(arms, self.config.evaluation.bootstrap), FOLDER / self.PRINTED[1])
        notes = made.notes(arms, self.config.scale, self.remarks(origins))
        return Made(table, "Refiners of images compared by HPS, style by style", notes, origins, made.shown(table))

    def _styles(self, row: Batch) -> list[str]:
        return self.config.evaluation.sets[refined(row).set].styles

    def _judges(self, row: Batch) -> str:
        """The group of judges that fills HPS of a row; "" if none does."""
        return next((one for one in row.judges if HPS in self.study.metrics(one, row.track)), "")
