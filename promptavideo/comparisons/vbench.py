"""Refiners compared by VBench: the paper's Table 8, and its ablations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.batches import Batch
from promptavideo.comparisons.base import FOLDER, Comparison, Made, refined
from promptavideo.layout import REWARDS

if TYPE_CHECKING:
    from promptavideo.vbench.table import Judged


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
        return [one for one in every if refined(one).set == self.set and self.study.vbench.judged(one)]

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
