"""The tables of results, each by its name: what it is made of, what else decides it, and how it is made.

A table compares what refiners wrote for all tracks (scope `tables`) or for one (scope `TRACK/tables`). One rule makes
them all (`rules/report.smk`). Another table is a class in this package and a line in `COMPARISONS`.
"""

from promptavideo.comparisons.base import Comparison, Figure, Made
from promptavideo.comparisons.convergence import ConvergenceTable
from promptavideo.comparisons.gains import GainsTable
from promptavideo.comparisons.hpsv2 import HpsTable
from promptavideo.comparisons.negatives import NegativePromptsTable
from promptavideo.comparisons.rewards import VideoScoreTable
from promptavideo.comparisons.transfer import TransferTable
from promptavideo.comparisons.user_study import UserStudyTable
from promptavideo.comparisons.vbench import AblationTable, VBenchTable
from promptavideo.study import Study

__all__ = ["COMPARISONS", "Comparison", "Figure", "Made", "comparisons", "shown"]

COMPARISONS: dict[str, type[Comparison]] = {
    "videoscore": VideoScoreTable,
    "gains": GainsTable,
    "vbench": VBenchTable,
    "vbench100": AblationTable,
    "convergence": ConvergenceTable,
    "negative_prompts": NegativePromptsTable,
    "transfer": TransferTable,
    "hpsv2": HpsTable,
    "user_study": UserStudyTable,
}


def comparisons(study: Study) -> dict[str, Comparison]:
    """The tables that the configuration can make, by name."""
    every = {name: kind(study, name) for name, kind in COMPARISONS.items()}
    return {name: table for name, table in every.items() if table.possible}


def shown(study: Study) -> dict[str, Comparison]:
    """Those of them that the report and a track's target make."""
    return {name: table for name, table in comparisons(study).items() if table.asked}
