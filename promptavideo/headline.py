"""The last words of a run: what the refiners gained, and where the rest is to be seen."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from promptavideo.provenance import OTHERS_NOTE
from promptavideo.tables import LAPTOP, LAPTOP_NOTE, PAPER_SET, read, read_videoscore_table

WIDTH = 80


def headline(table: pd.DataFrame, notes: Sequence[str], files: dict[str, Path]) -> str:
    """The gains of a VideoScore table as plain text of 80 columns.

    Args:
        table: As `read_videoscore_table` gives it; rows of the paper are left out.
        notes: What stands below it, which says whether its numbers may be compared with the paper's.
        files: Where more is to be seen, by what it is; only those that exist are named.
    """
    lines: list[str] = []
    ours = table[table["set"] != PAPER_SET]
    width = max([len("refiner"), *ours["refiner"].map(len)])
    for (generator, name), rows in ours.groupby(["generator", "set"], sort=False):
        lines += [f"{generator} on {name}: avg of the five VideoScore dimensions (0-5)", ""]
        lines.append(f"  {'refiner':{width}}    avg    gain  95 % interval of the gain")
        for row in rows.to_dict("records"):
            gain = "" if pd.isna(row["gain"]) else f"  {row['gain']:+6.3f}"
            known = pd.notna(row["gain_ci_low"]) and pd.notna(row["gain_ci_high"])
            interval = f"  {row['gain_ci_low']:+.3f} to {row['gain_ci_high']:+.3f}" if known else ""
            lines.append(f"  {row['refiner']:{width}}  {row['avg']:5.3f}{gain}{interval}")
        lines.append("")
    if LAPTOP_NOTE in notes:
        lines += [*textwrap.wrap(f"These are {LAPTOP}", WIDTH), ""]
    for note in notes:
        if note.startswith(OTHERS_NOTE.partition(":")[0]):
            lines += [*textwrap.wrap(note, WIDTH), ""]
    there = {what: path for what, path in files.items() if path.exists()}
    label = max((len(what) for what in there), default=0) + 1
    lines += [f"{what + ':':{label}} {path}" for what, path in there.items()]
    return "\n".join(lines)


def of_results(results: Path) -> str:
    """The headline of a folder of results.

    Raises:
        InputError: It holds no VideoScore table.
    """
    stem = results / "tables" / "videoscore"
    table = read_videoscore_table(stem.with_suffix(".csv"))
    _, _, notes = read(stem)
    generators = table.loc[table["set"] != PAPER_SET, "generator"].unique()
    sheets = {f"contact sheet of {name}": results / name / "figures" / "contact_sheet.png" for name in generators}
    return headline(table, notes, {"report": results / "report.html", **sheets})
