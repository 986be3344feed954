"""From scores to the tables that people read: means, intervals, paired gains, and files in three formats."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path, discarded, unreadable, write_text
from promptavideo.metrics import PAPER, VIDEOSCORE, Metric
from promptavideo.records import read_record
from promptavideo.resampling import BootstrapConfig, bootstrap_interval, paired_p_value
from promptavideo.text import clean, count_words

BASELINE = "original"
"""The refiner against which gains are measured: the user's prompt as it stands."""

PAPER_SET = "paper"
"""What stands in the `set` column of rows that the paper printed."""

PRINTED_AS = {"prompt-a-video": "dpo-2"}
"""Refiners of the printed tables that are rows of ours under another name: the method is the booster after its second
round of DPO."""

TEXT_COLUMNS = ("generator", "set", "refiner")
NAME_COLUMNS = (*TEXT_COLUMNS, "against", "before", "booster", "learned_from")
"""Columns of names in any table, which may look like numbers."""
STUDY_COUNTS = (
    "planned", "votes", "raters", "wins", "ties_good", "ties_poor", "losses", "repeats", "raters_left_out",
    "votes_left_out",
)  # fmt: skip
COUNT_COLUMNS = ("videos", "images", *STUDY_COUNTS)
INTERVAL_COLUMNS = ("avg_ci_low", "avg_ci_high", "gain", "gain_ci_low", "gain_ci_high", "p_value")

METHOD_NOTE = (
    "All scores are on a 0-5 scale; avg is the mean of {average}. Intervals are 95 % bootstrap intervals "
    "over prompts, resampled alike for all rows of a set. gain is the paired difference of avg to the original "
    "prompts; p_value is a two-sided paired permutation test, not corrected for the number of rows. words is the "
    "mean length of the refined texts."
)
IMAGES_NOTE = (
    "{tracks} make images, which have no {lacking}: avg of their rows is the mean of {average}, and not to be compared "
    "with that of videos."
)
REPORTED_NOTE = (
    "Nobody selected by or trained on {metrics}, each in its own range; a gain beside one is its paired difference to "
    "the original prompts, with its 95 % interval."
)
PAPER_NOTE = (
    'Rows with set "paper" are the numbers printed in Table 1 of Prompt-A-Video (arXiv 2412.15156), at the scale of '
    "that paper; cells that nobody published are empty."
)
LAPTOP = (
    "laptop-scale numbers of a miniature generator, scored by measurements of pixels: they are not comparable with the "
    "paper's."
)
LAPTOP_NOTE = f"All other numbers are {LAPTOP}"


@dataclass(frozen=True)
class Columns:
    """What a table shows of each row."""

    objective: Sequence[Metric]
    """On the 0-5 scale."""
    average: Sequence[str]
    """Those of the objective whose mean is `avg`."""
    reported: Sequence[Metric] = ()
    """Raw, each with its gain."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """The metrics' means, with `avg` behind those that it is of."""
        others = [metric.name for metric in self.objective if metric.name not in self.average]
        return (*self.average, "avg", *others)

    @property
    def gains(self) -> tuple[str, ...]:
        """The reported metrics with their gains."""
        ends = ("", "_gain", "_gain_ci_low", "_gain_ci_high")
        return tuple(f"{metric.name}{end}" for metric in self.reported for end in ends)

    def of(self, scores: pd.DataFrame) -> "Columns":
        """Those that some scores fill: images have fewer metrics, and a judge that only reports may look at other sets.

        Without a metric of `average`, all of the objective that there are take its place.
        """
        found = self.with_objective([metric for metric in self.objective if metric.five in scores])
        return replace(found, reported=[metric for metric in self.reported if metric.name in scores])

    def with_objective(self, objective: Sequence[Metric]) -> "Columns":
        """The same of some metrics of the objective; see `of`."""
        names = [metric.name for metric in objective]
        return replace(self, objective=objective, average=[name for name in self.average if name in names] or names)

    @property
    def all(self) -> tuple[str, ...]:
        """The columns of the VideoScore table, in order."""
        return (*TEXT_COLUMNS, "videos", *self.numbers, *INTERVAL_COLUMNS, *self.gains, "words")


PAPER_COLUMNS = Columns(PAPER, [metric.name for metric in VIDEOSCORE])
"""Those of the paper's Table 1, with AES and MPS."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One row to be: a refiner's scores (candidate 0 only) for a generator and a prompt set.

    They hold the objective's metrics on the 0-5 scale (`VQ_5`, ...), and those that are reported beside it raw.
    """

    generator: str
    set: str
    refiner: str
    scores: pd.DataFrame

    def __str__(self) -> str:
        return f"{self.generator}/{self.set}/{self.refiner}"


def videoscore_table(
    arms: Sequence[Arm], bootstrap: BootstrapConfig, columns: Columns = PAPER_COLUMNS, baseline: str = BASELINE
) -> pd.DataFrame:
    """Mean scores of each arm with intervals, and its paired gain over `baseline` of the same generator and set.

    Every mean is over prompts, after the mean over a prompt's replicates, so `gain` is exactly the difference of two
    `avg` cells. Intervals are those of `bootstrap_interval`, p-values those of `paired_p_value`; both are seeded by the
    set's name, so equal scores give equal cells, and a row does not depend on the other rows or the scores' order.

    Args:
        arms: The rows, in the order wanted.
        bootstrap: Resampling settings.
        columns: What is shown.
        baseline: The refiner against which gains are measured.

    Returns:
        One row an arm with `columns.all`. The gain cells are empty for `baseline`, and where no `baseline` of
        the same generator and set is given; interval and p-value cells are empty where the data cannot carry one,
        and a reported metric's where an arm's scores lack it.

    Raises:
        InputError: An arm was not filmed for the same prompts and replicates as its `baseline`.
        ScoreError: A score is not a finite number.
    """
    for arm in arms:
        check_scores(arm, columns.of(arm.scores))
    baselines = {(arm.generator, arm.set): arm for arm in arms if arm.refiner == baseline}
    rows = [_row(arm, baselines.get((arm.generator, arm.set)), bootstrap, columns.of(arm.scores)) for arm in arms]
    return _typed(pd.DataFrame(rows, columns=list(columns.all)))


def with_paper_rows(table: pd.DataFrame, paper_dir: Path) -> pd.DataFrame:
    """The table with the paper's own rows (Table 1) below ours: `set` is "paper", what nobody published is empty.

    Args:
        table: As `videoscore_table` returns it.
        paper_dir: Folder that holds `table1_videoscore.csv`.

    Raises:
        InputError: The CSV is missing or lacks a column, or a prompt set of ours is itself called "paper".
    """
    if (table["set"] == PAPER_SET).any():
        raise InputError(f'a prompt set is called "{PAPER_SET}", which marks rows of the paper; rename the set')
    printed = read_printed(paper_dir / "table1_videoscore.csv", [*(metric.name for metric in VIDEOSCORE), "avg"])
    paper = printed.assign(set=PAPER_SET).reindex(columns=table.columns)
    return pd.concat([_typed(table), _typed(paper)], ignore_index=True)


def read_printed(path: Path, numbers: Sequence[str], keys: Sequence[str] = ("generator", "refiner")) -> pd.DataFrame:
    """A table of the paper, with generators named as printed and refiners as in all tables (`PRINTED_AS`).

    Args:
        path: One of resources/paper.
        numbers: The columns to take beside those of `keys`.
        keys: The columns that tell rows apart.

    Raises:
        InputError: The file is missing or lacks a column.
    """
    try:
        printed = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore it from the repository") from error
    needed = [*keys, *numbers]
    if missing := [column for column in needed if column not in printed]:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; restore it from the repository")
    return printed[needed].replace({"refiner": PRINTED_AS})


def footnotes(
    table: pd.DataFrame,
    scale: Literal["laptop", "paper"],
    remarks: Sequence[str] = (),
    columns: Columns = PAPER_COLUMNS,
) -> list[str]:
    """The notes that belong under a VideoScore table, for `write` and for the report.

    Args:
        table: The table, with or without the paper's rows.
        scale: The configuration's scale.
        remarks: What the records of its rows call for (`provenance.remarks`).
        columns: What is shown.
    """
    notes = [METHOD_NOTE.format(average=_listed(columns.average))]
    if columns.reported:
        ranges = (f"{one.name} ({one.low:g} to {one.high:g})" for one in columns.reported)
        notes.append(REPORTED_NOTE.format(metrics=_listed(list(ranges))))
    notes += remarks
    if (table["set"] == PAPER_SET).any():
        notes.append(PAPER_NOTE)
    if scale == "laptop":
        notes.append(LAPTOP_NOTE)
    return notes


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Every cell as the text to show: three decimals (four for p-values), an empty string where there is no value."""

    def show(value: object, column: str) -> str:
        if value is None or value is pd.NA or value != value:
            return ""
        if isinstance(value, float):
            return f"{value:z.4f}" if column.endswith("p_value") else f"{value:z.3f}"
        return str(value)

    cells = {name: [show(value, str(name)) for value in table[name].tolist()] for name in table}
    return pd.DataFrame(cells, columns=table.columns, dtype=object)


def is_numeric(table: pd.DataFrame) -> list[bool]:
    """For each column, whether it holds numbers and is therefore set flush right."""
    return [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]


def write(
    table: pd.DataFrame, stem: Path, title: str, notes: Sequence[str], shown: Sequence[str] | None = None
) -> None:
    """Write `stem`.csv (full precision), .md and .tex (rounded, with title and notes), each whole or not at all.

    Title, notes and the columns shown also go into `stem`.notes.json, for `read`.

    Titles, notes, column names and cells may hold any text. The LaTeX needs the packages booktabs and graphicx.

    Args:
        table: Any table with unique column names.
        stem: Target path without a suffix.
        title: One line above the table.
        notes: Lines below it, see `footnotes`.
        shown: Columns of .md and .tex; all when absent.
    """
    with atomic_path(_beside(stem, ".csv")) as partial:
        table.to_csv(partial, index=False, float_format="%.10g", lineterminator="\n")
    told = {"title": title, "notes": list(notes), "shown": list(table.columns if shown is None else shown)}
    part = table[told["shown"]]
    texts = {
        ".md": _markdown(part, title, notes),
        ".tex": _latex(part, stem, title, notes),
        ".notes.json": json.dumps(told, indent=2, ensure_ascii=False) + "\n",
    }
    for suffix, text in texts.items():
        _write_text(_beside(stem, suffix), text)


def read(stem: Path, whole: bool = False) -> tuple[str, pd.DataFrame, list[str]]:
    """The title, the columns of a table that are shown, and the notes, as `write` wrote them.

    Args:
        stem: The stem given to `write`.
        whole: All columns of the CSV instead of those that are shown.

    Raises:
        InputError: A file is missing or holds something else.
    """
    path, notes = _beside(stem, ".csv"), _beside(stem, ".notes.json")
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(NAME_COLUMNS, "str"), keep_default_na=False, na_values=[""])
        told = json.loads(notes.read_text(encoding="utf-8"))
        shown = list(table.columns) if whole else told["shown"]
        counts = {name: "Int64" for name in COUNT_COLUMNS if name in table}
        return told["title"], table.astype(counts)[shown], told["notes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise discarded(f"{path}, {notes}: are no table of this project ({error})", path, notes) from error


def read_videoscore_table(path: Path) -> pd.DataFrame:
    """Read a VideoScore table that `write` wrote (.csv), with the column types of `videoscore_table`.

    Raises:
        InputError: The file is missing, or is not such a table.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, "str"), keep_default_na=False, na_values=[""])
        if missing := {*TEXT_COLUMNS, "videos", "avg", *INTERVAL_COLUMNS} - set(table.columns):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        return _typed(table)
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(path, "VideoScore table", error) from error


def write_provenance(stem: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `stem`.provenance.json beside a table: a list with one object for each of its rows, in order.

    Args:
        stem: The stem given to `write`.
        rows: Where each row comes from; values that JSON can carry.
    """
    text = json.dumps([dict(row) for row in rows], indent=2, sort_keys=True, allow_nan=False)
    _write_text(_beside(stem, ".provenance.json"), text + "\n")


def read_provenance(stem: Path) -> list[Any]:
    """Where each row of a table comes from, as `write_provenance` wrote it.

    Raises:
        InputError: It is missing or something else, and then the table is removed with it: one step makes both.
    """
    path = _beside(stem, ".provenance.json")
    try:
        return read_record(path, list[Any], "record of a table's rows")
    except InputError as error:
        table = _beside(stem, ".csv")
        raise discarded(f"{path}: is no record of where the rows of {table} come from", path, table) from error


def check_scores(arm: Arm, shown: Columns) -> None:
    """Refuse scores from which no honest row can be made.

    Raises:
        ScoreError: One is not a finite number; names the first.
    """
    columns = [*(metric.five for metric in shown.objective), *(metric.name for metric in shown.reported)]
    finite = np.isfinite(arm.scores[columns].to_numpy(float)).all(axis=1)
    if not finite.all():
        first = arm.scores.loc[~finite, "prompt_id"].min()
        raise ScoreError(f"arm {arm}: a score of prompt {first} is not a finite number; score its videos again")


def _row(arm: Arm, baseline: Arm | None, bootstrap: BootstrapConfig, columns: Columns) -> dict[str, object]:
    means = prompt_means(arm, columns)
    row: dict[str, object] = {"generator": arm.generator, "set": arm.set, "refiner": arm.refiner}
    row["videos"] = len(arm.scores)
    row.update({str(name): float(value) for name, value in means.mean().items()})
    row["words"] = float(arm.scores.drop_duplicates("prompt_id")["refined"].map(count_words).mean())
    row |= interval("avg", means["avg"], bootstrap, arm)
    if baseline is not None and baseline is not arm:
        check_same_videos(arm, baseline)
        gains = means - prompt_means(baseline, columns)
        row["p_value"] = paired_p_value(gains["avg"].to_numpy(), bootstrap, arm.set)
        names = {"avg": "gain", **{metric.name: f"{metric.name}_gain" for metric in columns.reported}}
        for name, column in names.items():
            row |= {column: float(gains[name].mean()), **interval(column, gains[name], bootstrap, arm)}
    return row


def interval(name: str, values: pd.Series, bootstrap: BootstrapConfig, arm: Arm) -> dict[str, float]:
    """The cells of the interval of a mean over prompts, by column."""
    low, high = bootstrap_interval(values.to_numpy(float), bootstrap, arm.set)
    return {f"{name}_ci_low": low, f"{name}_ci_high": high}


def prompt_means(arm: Arm, columns: Columns = PAPER_COLUMNS) -> pd.DataFrame:
    """Means over replicates, indexed by sorted prompt_id: `columns.numbers` on the 0-5 scale, those reported raw."""
    columns = columns.of(arm.scores)
    scores = arm.scores.sort_values(["prompt_id", "replicate"])
    names = [metric.name for metric in columns.objective]
    shown = scores[[metric.five for metric in columns.objective]].set_axis(names, axis=1)
    reported = [metric.name for metric in columns.reported]
    means = pd.concat([shown, scores[reported]], axis=1).groupby(scores["prompt_id"]).mean()
    means["avg"] = means[list(columns.average)].mean(axis=1)
    return means[[*columns.numbers, *reported]]


def check_same_videos(arm: Arm, baseline: Arm) -> None:
    """Check that both have the same prompts and replicates, which a paired gain needs.

    Raises:
        InputError: One lacks some; names the first.
    """
    filmed, wanted = (
        set(zip(side.scores["prompt_id"], side.scores["replicate"], strict=True)) for side in (arm, baseline)
    )
    for lacking, other, gap in ((arm, baseline, wanted - filmed), (baseline, arm, filmed - wanted)):
        if gap:
            prompt_id, replicate = min(gap)
            raise InputError(
                f"arm {lacking} lacks {len(gap)} videos that {other} has, first prompt {prompt_id} "
                f"replicate {replicate}; film and score the missing ones, or make both batches from the same prompts"
            )


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    numbers = [name for name in table if name not in (*TEXT_COLUMNS, "videos")]
    return table.astype({"videos": "Int64", **dict.fromkeys(numbers, "float64")})


def _listed(names: Sequence[str]) -> str:
    """Names as people list them: `VQ, TC and DD`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _markdown(table: pd.DataFrame, title: str, notes: Sequence[str]) -> str:
    cells = as_text(table).map(markdown_escape).set_axis([markdown_escape(str(name)) for name in table], axis=1)
    align = ["right" if number else "left" for number in is_numeric(table)]
    grid = cells.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n\n".join([f"# {markdown_escape(title)}", grid, *map(markdown_escape, notes)]) + "\n"


def markdown_escape(text: str) -> str:
    """Text that GitHub-flavoured Markdown shows as it is; underscores inside a word need no escape there."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|$~#!]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _latex(table: pd.DataFrame, stem: Path, title: str, notes: Sequence[str]) -> str:
    numeric = is_numeric(table)
    cells = as_text(table).map(_latex_escape).set_axis([_latex_escape(str(name)) for name in table], axis=1)
    for name, number in zip(cells.columns, numeric, strict=True):
        if number:
            cells[name] = cells[name].str.replace(r"^-", r"\\textminus{}", regex=True)
    grid = cells.to_latex(
        index=False, escape=False, column_format="".join("r" if number else "l" for number in numeric)
    )
    label = re.sub(r"[^A-Za-z0-9]+", "-", stem.name).strip("-")
    below = [rf"\par\smallskip{{\footnotesize {_latex_escape(note)}}}" for note in notes]
    lines = [
        "% needs the packages booktabs and graphicx",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex_escape(title)}}}",
        rf"\label{{tab:{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        grid.rstrip("\n") + "%",
        "}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after a row's end, a bare bracket or star would be taken for an argument of \\
        "*": "{*}",
        **{character: f"\\{character}" for character in "%&#$_{}"},
    }
)


def _latex_escape(text: str) -> str:
    """Text that LaTeX sets as it is. Unlike pandas' own escape it covers brackets, bars and line breaks."""
    return clean(text).translate(_LATEX)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)  # with_suffix would cut a stem that holds a dot


def _write_text(path: Path, text: str) -> None:
    write_text(path, text)
