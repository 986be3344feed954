"""The last words of a run: what the refiners gained, and where the rest is to be seen."""

import textwrap
from pathlib import Path

import pandas as pd

from promptavideo.provenance import OTHERS_NOTE
from promptavideo.tables import LAPTOP, LAPTOP_NOTE, PAPER_SET, read, read_videoscore_table

WIDTH = 80


def of_results(results: Path) -> str:
    """The gains in the VideoScore table of a folder of results, and where more is to be seen, in 80 columns.

    Rows of the paper are left out; the table's notes say whether its numbers may be compared with the paper's.

    Raises:
        InputError: The folder holds no VideoScore table.
    """
    stem = results / "tables" / "videoscore"
    table = read_videoscore_table(stem.with_suffix(".csv"))
    _, _, notes = read(stem)
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
    files = {"report": results / "report.html"}
    for name in ours["generator"].unique():
        files[f"contact sheet of {name}"] = results / name / "figures/contact_sheet.png"
    there = {what: path for what, path in files.items() if path.exists()}
    label = max((len(what) for what in there), default=0) + 1
    lines += [f"{what + ':':{label}} {path}" for what, path in there.items()]
    return "\n".join(lines)
