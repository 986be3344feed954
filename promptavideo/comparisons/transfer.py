"""Boosters compared on generators that they did and did not learn from: the paper's E.1."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptavideo.batches import Batch, Booster
from promptavideo.comparisons.base import Comparison, Figure, Made
from promptavideo.layout import REWARDS

if TYPE_CHECKING:
    from promptavideo.tables import Arm
    from promptavideo.transfer import Cell


class TransferTable(Comparison):
    """What each booster gains on each generator that films its texts."""

    FIGURE = Figure(
        "Boosters on other generators",
        "Paired gains over the original prompts with 95 % intervals over prompts. Framed cells are of generators whose "
        "data a booster learned from.",
    )

    @property
    def asked(self) -> bool:
        """Where the configuration says so."""
        return "transfer" in self.config.evaluation.studies and self.possible

    @property
    def possible(self) -> bool:
        """Whether a booster is compared on several generators."""
        return bool(self.rows("tables"))

    def rows(self, scope: str) -> list[Batch]:
        """By set and track, the original prompts and the boosters that several tracks of the scope are compared by."""
        tracks = self.study.compared(scope)
        found = {track: self._boosters(track) for track in tracks}
        times = Counter(booster for own in found.values() for booster in own)
        shown = {
            track: ["original", *(name for booster, name in own.items() if times[booster] > 1)]
            for track, own in found.items()
        }
        return [
            self.study.evaluation(track, name, refiner)
            for name in self.config.evaluation.sets
            for track, refiners in shown.items()
            if len(refiners) > 1 and name in self.study.scored_sets(track)
            for refiner in refiners
        ]

    def read(self, row: Batch) -> list[str]:
        """The rewards."""
        return [self.study.files(row).scores(REWARDS)]

    def decides(self, scope: str) -> dict[str, Any]:
        """What `avg` is of too."""
        return super().decides(scope) | {"average": self.config.evaluation.average}

    def make(self, rows: Sequence[Batch]) -> Made:
        """Without rows of the paper, which printed no numbers."""
        from promptavideo import transfer

        originals, cells = [], []
        origins: dict[tuple[str, str | None], dict[str, Any]] = {}
        for row in rows:
            arm = self.arm(row)
            booster: Booster | None = self._writer(row)
            if booster is None:
                originals.append(arm)
            else:
                cells.append(_cell(booster, arm))
            of = origins.setdefault((arm.set, booster.known_as if booster else None), {})
            of[row.track] = self.origin(row, REWARDS, arm.scores)
        table = transfer.transfer_table(originals, cells, self.config.evaluation.bootstrap, self.columns)
        kept = [
            {"filmed_by": origins[name, booster], "original": origins[name, None]}
            for name, booster in zip(table["set"], table["booster"], strict=True)
        ]
        every = [origin for of in origins.values() for origin in of.values()]
        notes = transfer.notes(self.config.scale, self.remarks(every), self.columns)
        return Made(table, "Boosters on generators that they did and did not learn from", notes, kept)

    def _boosters(self, track: str) -> dict[Booster, str]:
        """The boosters of texts that a track is compared by, each with the first refiner that it is behind."""
        found: dict[Booster, str] = {}
        for name in self.config.evaluation.compared(track):
            booster = self.study.writer(track, name)
            if booster and booster.writes == "text":
                found.setdefault(booster, name)
        return found


def _cell(booster: Booster, arm: "Arm") -> "Cell":
    from promptavideo.transfer import Cell

    learned = [track for one in booster.chain for track in one.tracks]
    return Cell(booster.known_as, tuple(dict.fromkeys(learned)), len(booster.chain), arm)
