"""Tables as a page shows them: in as few columns as its width holds, the numbers those of the CSV."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from promptavideo.tables import PAPER_SET, as_text, is_numeric

LOW, HIGH = "_ci_low", "_ci_high"
INTERVAL_NOTE = (
    "± is half the width of a 95 % interval, which need not lie evenly about its value; the CSV has both ends."
)
BESIDE = ("avg", ("gain", "p_value"))
"""A column, and those that stand behind it where all are there."""
WIDEST = 145
"""Characters that a page of 1200 pixels holds side by side."""
BETWEEN = 1.3
"""Between columns, in characters."""
MARKS = ("set", "source")
"""The columns in which rows that the paper printed say so."""


@dataclass(frozen=True)
class Column:
    """A column that is shown."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """A cell as text."""

    value: str
    half: str = ""
    """Half the width of its interval, with its sign; empty where there is none."""


@dataclass(frozen=True)
class Display:
    """Rows of a table, as they are shown."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    shared: Sequence[tuple[str, str]]
    """Columns of names and counts in which all rows say the same, with what they say."""
    empty: Sequence[str]
    """Columns in which no row says anything."""
    printed: bool
    """Whether the paper printed these rows."""

    @property
    def intervals(self) -> bool:
        """Whether a cell shows one."""
        return any(cell.half for row in self.rows for cell in row)

    @property
    def dense(self) -> bool:
        """Whether the names of its columns take more room than a page has, so that they should stand upright."""
        widths = []
        for column, cells in zip(self.columns, zip(*self.rows, strict=True), strict=True):
            parts = [*column.name.split("_"), *(part for cell in cells for part in (cell.value, cell.half))]
            widths.append(max(map(len, parts)) + BETWEEN)
        return sum(widths) > WIDEST


def compact(table: pd.DataFrame) -> list[Display]:
    """What a page shows of a table: measured rows, and apart from them those that the paper printed.

    Gains stand beside what they are gains of, an interval in the cell of its value, and columns that tell no rows apart
    are taken out and named.

    Args:
        table: Any table; the interval of a column X is in `X_ci_low` and `X_ci_high`.
    """
    marks = table[[name for name in MARKS if name in table.columns]]
    printed = (marks == PAPER_SET).any(axis=1)
    parts = ((table[printed == by_paper], by_paper) for by_paper in (False, True))
    return [_display(part, by_paper) for part, by_paper in parts if len(part)]


def _display(part: pd.DataFrame, printed: bool) -> Display:
    texts = as_text(part)
    numeric = dict(zip(map(str, part), is_numeric(part), strict=True))
    ends = [name for name in numeric if _value_of(name) in numeric]
    empty = [name for name in numeric if name not in ends and texts[name].eq("").all()]
    known = [name for name in numeric if name not in ends and name not in empty]
    shared = [name for name in known if _tells_nothing(part[name], numeric[name])]
    shown = _ordered([name for name in known if name not in shared])
    halves = {name: _halves(part, name) for name in shown}
    return Display(
        [Column(name, numeric[name]) for name in shown],
        [[Cell(texts[name].iloc[place], halves[name][place]) for name in shown] for place in range(len(part))],
        [(name, texts[name].iloc[0]) for name in shared if not (printed and name in MARKS)],
        empty,
        printed,
    )


def _value_of(name: str) -> str:
    """The column whose interval a column is an end of; "" for any other."""
    return next((name.removesuffix(end) for end in (LOW, HIGH) if name.endswith(end)), "")


def _tells_nothing(column: pd.Series, numeric: bool) -> bool:
    """Whether several rows share a name or a count; equal measurements are worth being seen."""
    counted = not numeric or pd.api.types.is_integer_dtype(column.dtype)
    return len(column) > 1 and counted and column.nunique(dropna=False) == 1


def _ordered(names: Sequence[str]) -> list[str]:
    leader, followers = BESIDE
    if not {leader, *followers} <= set(names):
        return list(names)
    others = [name for name in names if name not in followers]
    place = others.index(leader) + 1
    return [*others[:place], *followers, *others[place:]]


def _halves(part: pd.DataFrame, name: str) -> list[str]:
    if not {f"{name}{LOW}", f"{name}{HIGH}"} <= set(map(str, part)):
        return [""] * len(part)
    width = (part[f"{name}{HIGH}"] - part[f"{name}{LOW}"]).astype(float) / 2
    return ["" if pd.isna(half) else f"± {half:.3f}" for half in width]
