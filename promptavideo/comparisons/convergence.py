"""The stages of a track's chain of boosters compared: what each gains and what it costs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptavideo.batches import Batch, Booster
from promptavideo.comparisons.base import Figure, Made
from promptavideo.comparisons.rewards import VideoScoreTable
from promptavideo.layout import REWARDS

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.convergence import Stage
    from promptavideo.price import Filmed


class ConvergenceTable(VideoScoreTable):
    """What each stage gains over the one before, and how many videos were filmed to get there."""

    PRINTED = None
    FIGURE = Figure(
        "Gain and price of each stage",
        "Gains over the original prompts, paired differences to the stage before with their p-values, and the gain by "
        "the videos that were filmed to learn it, each with its 95 % interval over prompts. Below, what a booster may "
        "pay for them with: the dynamic degree, the held-out judges, and its texts.",
    )

    @property
    def asked(self) -> bool:
        """Where the configuration says so."""
        return "convergence" in self.config.evaluation.studies and self.possible

    @property
    def possible(self) -> bool:
        """Whether a track compares a booster."""
        return any(map(self.stages, self.study.tracks))

    def stages(self, track: str) -> list[str]:
        """The refiners of a track's rows: its originals, rewrites by operators, and its longest chain of boosters.

        Other refiners stand in no order, and nobody knows what was filmed for them. None without a booster.
        """
        compared = self.config.evaluation.compared(track)
        writers = {name: writer for name in compared if (writer := self.study.writer(track, name))}
        if not writers:
            return []
        chain = max((one.chain for one in writers.values()), key=len)
        trained = sorted(
            (name for name in writers if writers[name] in chain), key=lambda name: len(writers[name].chain)
        )
        return ["original", *(name for name in compared if self.config.refiners[name].asks), *trained]

    def rows(self, scope: str) -> list[Batch]:
        """The stages' evaluations on each set that the rewards score."""
        return [
            self.study.evaluation(track, name, refiner)
            for track in self.study.compared(scope)
            for name in self.study.scored_sets(track)
            for refiner in self.stages(track)
        ]

    def files(self, scope: str) -> list[str]:
        """The videos that were filmed for the stages too, how long that took, and the candidates' texts."""
        study, batches = self.study, self._learned_from(self.rows(scope))
        filmed = [file for one in batches for file in (*study.manifests(one), *study.filmings(one))]
        drawn = [study.files(one).prompts for row in self.rows(scope) for one in self._drawn(row)]
        return [*super().files(scope), *filmed, *dict.fromkeys(drawn)]

    def decides(self, scope: str) -> dict[str, Any]:
        """What was filmed for the stages too."""
        filmed = [[one.track, one.name] for one in self._learned_from(self.rows(scope))]
        return super().decides(scope) | {"filmed": filmed}

    def make(self, rows: Sequence[Batch]) -> Made:
        """Without rows of the paper, which printed none of this form."""
        from promptavideo import convergence, tables
        from promptavideo.price import price, read_filmed

        columns, bootstrap = self.columns, self.config.evaluation.bootstrap
        filmed = {batch: read_filmed(self.study, batch) for batch in self._learned_from(rows)}
        stages = [self._stage(row, filmed) for row in rows]
        table = convergence.convergence_table(stages, bootstrap, columns)
        origins = []
        for row, stage in zip(rows, stages, strict=True):
            learned = [f"{one.track}/{one.name}" for one in self._learned_from([row])]
            origins.append(self.origin(row, REWARDS, stage.arm.scores) | {"filmed_for_it": learned})
        devices = ", ".join(price(filmed.values()).devices) or "not measured"
        notes = [
            convergence.STAGE_NOTE,
            convergence.PRICE_NOTE.format(devices=devices),
            *tables.footnotes(table, self.config.scale, self.remarks(origins), columns),
        ]
        return Made(table, "What each stage gains, and its price", notes, origins, convergence.shown(columns))

    def _stage(self, row: Batch, filmed: "dict[Batch, Filmed]") -> "Stage":
        from promptavideo.convergence import Stage
        from promptavideo.price import price

        writer: Booster | None = self._writer(row)
        every = self._learned_from([row])
        own = [one for one in every if writer and one in self.study.own_batches(writer)]
        whole = price(map(filmed.__getitem__, every))
        earlier = price(filmed[one] for one in every if one not in own)
        candidates = list(self._read_drawn(row))
        return Stage(self.arm(row), candidates, whole, whole.videos - earlier.videos)

    def _learned_from(self, rows: Sequence[Batch]) -> list[Batch]:
        """All that was filmed for the boosters behind some rows, each batch once."""
        writers = filter(None, map(self._writer, rows))
        return list(dict.fromkeys(batch for writer in writers for batch in self.study.learned_from(writer)))

    def _drawn(self, row: Batch) -> list[Batch]:
        """The candidates that the booster behind a row learned from."""
        writer: Booster | None = self._writer(row)
        return self.study.own_batches(writer) if writer and writer.drawing else []

    def _read_drawn(self, row: Batch) -> "Iterator[pd.DataFrame]":
        from promptavideo.schemas import PROMPTS, read_table

        for batch in self._drawn(row):
            yield read_table(Path(self.study.files(batch).prompts), PROMPTS)
