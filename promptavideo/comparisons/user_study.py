"""Refiners compared by people: the paper's user study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptavideo.batches import Batch
from promptavideo.comparisons.base import FOLDER, Comparison, Made, refined
from promptavideo.rating import folder
from promptavideo.rating.config import compared


class UserStudyTable(Comparison):
    """What people prefer who do not know which refiner wrote for which video."""

    PRINTED = ("its user study", "user_study.csv")

    @property
    def asked(self) -> bool:
        """Where the folder of votes holds any file: a run by itself waits for nobody."""
        given = self.config.user_study
        return given is not None and self.possible and bool(folder.files(Path(given.votes)))

    @property
    def possible(self) -> bool:
        """Whether there are two refiners to compare."""
        return compared(self.study) is not None

    def rows(self, scope: str) -> list[Batch]:
        """The evaluations whose videos are shown."""
        found = compared(self.study)
        if found is None or found.track not in self.study.compared(scope):
            return []
        return [self.study.evaluation(found.track, found.set, name) for name in found.refiners]

    def read(self, row: Batch) -> list[str]:
        """Nothing: what is read of all of them together is in `files`."""
        return []

    def files(self, scope: str) -> list[str]:
        """The plan and the votes."""
        layout = self.study.layout
        mine = [layout.study_plan, layout.study_votes, layout.study_record] if self.rows(scope) else []
        return [*mine, *super().files(scope)]

    def decides(self, scope: str) -> dict[str, Any]:
        """Who counts, too."""
        given = self.config.user_study
        kept = given and {"least_checks": given.least_checks, "least_agreement": given.least_agreement}
        return super().decides(scope) | {"counted": kept}

    def make(self, rows: Sequence[Batch]) -> Made:
        """With the rates that the paper's figure shows."""
        from promptavideo import provenance
        from promptavideo.files import sha256
        from promptavideo.hardware import environment
        from promptavideo.rating import table as made
        from promptavideo.rating.collect import Record
        from promptavideo.rating.plan import read
        from promptavideo.records import read_record
        from promptavideo.schemas import VOTES, read_table

        layout, given = self.study.layout, self.config.user_study
        assert given is not None
        plan = read(Path(layout.study_plan))
        votes = read_table(Path(layout.study_votes), VOTES)
        record = read_record(Path(layout.study_record), Record, "record of collected votes")
        table, who = made.user_study_table(plan, votes, given, self.config.evaluation.bootstrap)
        boosters = {
            refined(row).refiner: read_record(
                Path(self.study.files_of(writer).card), dict[str, Any], "card of a booster"
            )
            for row in rows
            if (writer := self._writer(row))
        }
        common = {
            "code": provenance.code_version(Path()),
            "environment": environment(provenance.ARITHMETIC),
            "scale": self.config.scale,
            "run_seed": self.config.seed,
            "plan": {"id": plan.id, "file": layout.study_plan, "sha256": sha256(Path(layout.study_plan))},
            "votes": vars(record),
        }
        origins = [
            {
                **common,
                **{name: one[name] for name in ("generator", "set", "refiner", "against", "question")},
                "boosters": {name: boosters.get(name) for name in (one["refiner"], one["against"])},
            }
            for one in table.to_dict("records")
        ]
        table = made.with_paper_rows(table, FOLDER / self.PRINTED[1])
        said = self._said(refined(row).refiner for row in rows)
        remarks = [f"{refiner}: {remark}" for refiner, remark in said.items()]
        notes = made.notes(table, who, given, record, self.config.scale, remarks)
        return Made(table, "Refiners compared by people", notes, origins, made.SHOWN)
