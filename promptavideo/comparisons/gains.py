"""Boosters compared with every refiner that is none: the original prompts, the one-shot rewrite, and others."""

from collections.abc import Sequence
from typing import Any

from promptavideo.batches import Batch
from promptavideo.comparisons.base import Comparison, Made, refined
from promptavideo.layout import REWARDS


class GainsTable(Comparison):
    """The paired differences of each booster to every refiner that is none."""

    @property
    def asked(self) -> bool:
        """Whether a track compares a booster with anything."""
        return bool(self.rows("tables"))

    def rows(self, scope: str) -> list[Batch]:
        """By track and set, the refiners that are no boosters, and the boosters."""
        return [
            self.study.evaluation(track, name, refiner)
            for track in self.study.compared(scope)
            if self.study.boosted(track)
            for name in self.study.scored_sets(track)
            for refiner in (*self.study.unboosted(track), *self.study.boosted(track))
        ]

    def read(self, row: Batch) -> list[str]:
        """The rewards."""
        return [self.study.files(row).scores(REWARDS)]

    def decides(self, scope: str) -> dict[str, Any]:
        """What `avg` is of too."""
        return super().decides(scope) | {"average": self.config.evaluation.average}

    def make(self, rows: Sequence[Batch]) -> Made:
        """Without rows of the paper, which printed none of this form."""
        from promptavideo.gains import Pair, gains_table, notes

        arms = {row: self.arm(row) for row in rows}
        origins = {row: self.origin(row, REWARDS, arm.scores) for row, arm in arms.items()}
        pairs = [(one, other) for one in rows for other in rows if self._paired(one, other)]
        made = [Pair(arms[one], arms[other]) for one, other in pairs]
        table = gains_table(made, self.config.evaluation.bootstrap, self.columns)
        kept = [{"refiner": origins[one], "against": origins[other]} for one, other in pairs]
        told = notes(self.config.scale, self.remarks(list(origins.values())), self.columns)
        return Made(table, "What the boosters gain, and over whom", told, kept)

    def _paired(self, one: Batch, other: Batch) -> bool:
        """Whether a row is a booster's and another one is compared with it."""
        if (one.track, refined(one).set) != (other.track, refined(other).set):
            return False
        boosted, unboosted = self.study.boosted(one.track), self.study.unboosted(one.track)
        return refined(one).refiner in boosted and refined(other).refiner in unboosted
