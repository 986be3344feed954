"""The tables that steps hand to each other: their columns, checked on write and on read."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from promptavideo.errors import InputError
from promptavideo.files import atomic_path, discarded, unreadable
from promptavideo.metrics import Metric

_text = pa.Column(str, pa.Check.str_length(min_value=1))
_count = pa.Column(int, pa.Check.ge(0))


def _table(columns: dict[str, pa.Column], unique: list[str]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True, unique=unique)


PROMPT_SET = _table(
    {"prompt_id": _text, "prompt": _text, "style": pa.Column(str, pa.Check.str_length(min_value=1), required=False)},
    ["prompt_id"],
)
"""Short user prompts. `prompt_id` is derived from the text, so it survives reordering the file.

`style` is there if the set has styles; the order of the rows is then that in which a style's prompts are grouped.
"""

PROMPTS = _table(
    {
        "prompt_id": _text,
        "prompt": _text,
        "candidate": _count,
        "refined": _text,
        "negative": pa.Column(str, nullable=True),
        "replicate": _count,
        "seed": _count,
    },
    ["prompt_id", "candidate", "replicate"],
)
"""What a batch films, one row a video: the original prompt, the refined text to film, and the video's own seed.

`candidate` numbers the refined texts of one prompt; in evolution 0 is the original itself. `negative` is the text's own
negative prompt, null where it has none and the generator's counts.
"""


def rewards(metrics: Sequence[Metric]) -> pa.DataFrameSchema:
    """One shard's raw metrics, one row a video; `key` names the video in the store."""
    return _table({**_VIDEO, "key": _text, **_values(metric.name for metric in metrics)}, list(_VIDEO))


def scores(metrics: Sequence[Metric]) -> pa.DataFrameSchema:
    """A batch's videos with some metrics, raw (`VQ`, ...) and on the 0-5 scale (`VQ_5`, ...)."""
    names = [*(metric.name for metric in metrics), *(metric.five for metric in metrics)]
    return _table({**PROMPTS.columns, "key": _text, **_values(names)}, list(_VIDEO))


_VIDEO = {"prompt_id": _text, "candidate": _count, "replicate": _count}


def _values(names: Iterable[str]) -> dict[str, pa.Column]:
    return {name: pa.Column(float, nullable=False) for name in names}


VBENCH_SCORES = _table(
    {
        "dimension": _text,
        "row": _count,
        "prompt_id": _text,
        "replicate": _count,
        "key": _text,
        "value": pa.Column(float, [pa.Check.ge(-1), pa.Check.le(1 + 1e-6)], nullable=True),
        "weight": _count,
    },
    ["dimension", "row", "replicate"],
)
"""VBench's results of an evaluation, one row a video and dimension, 0-1; empty where it found nothing to judge.

`row` is the prompt's place in VBench's list; `weight` is how much the video counts in the dimension's average.
"""

PAIRS = _table(
    {"prompt_id": _text, "prompt": _text, "refined": _text, "total": pa.Column(float, nullable=True)}, ["prompt_id"]
)
"""SFT data: each prompt with its best evolved text, and that text's total; released pairs have none."""

TRIPLES = _table(
    {
        "prompt_id": _text,
        "prompt": _text,
        "chosen": _text,
        "rejected": _text,
        "chosen_total": pa.Column(float),
        "rejected_total": pa.Column(float),
    },
    ["prompt_id", "chosen", "rejected"],
)
"""DPO data: a better and a worse refined text of one prompt, with their totals."""


VOTES = _table(
    {
        "rater": _text,
        "slot": pa.Column(int, pa.Check.ge(1)),
        "position": pa.Column(int, pa.Check.ge(1)),
        "kind": pa.Column(str, pa.Check.isin(["item", "repeat", "check"])),
        "item": _text,
        "refiner": _text,
        "against": _text,
        "prompt_id": _text,
        "replicate": _count,
        "question": _text,
        "left": _text,
        "answer": pa.Column(str, pa.Check.isin(["left", "right", "both-good", "both-poor"])),
        "outcome": pa.Column(str, pa.Check.isin(["win", "tie-good", "tie-poor", "loss"])),
        "milliseconds": pa.Column("Int64", pa.Check.ge(0), nullable=True),
    },
    ["rater", "position", "question"],
)
"""The answers of the user study that count, one row each: whose videos a rater saw at a position, on which side, and
what the answer says of `refiner`. Of a check `refiner` is the intact video."""


def write_table(table: pd.DataFrame, path: Path, schema: pa.DataFrameSchema) -> None:
    """Check `table` against `schema` and write it to `path` (parquet) in one step.

    Raises:
        InputError: A column, a type or a row breaks the schema; the message names the first few.
    """
    if faults := _faults(table, schema):
        raise InputError(f"{path}: the table breaks its schema: {faults}")
    with atomic_path(path) as partial:
        table.to_parquet(partial, index=False)


def read_table(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a parquet table and check it against `schema`.

    Raises:
        InputError: The file is missing, or is not parquet or breaks the schema and is removed.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, "parquet table", error) from error
    if faults := _faults(table, schema):
        raise discarded(f"{path}: the table breaks its schema: {faults}", path)
    return table


def _faults(table: pd.DataFrame, schema: pa.DataFrameSchema) -> list[dict[str, object]]:
    """The first few cells that break a schema; a cell is named by the prompt of its row, where it has one."""
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases: pd.DataFrame = error.failure_cases.head(3)[["column", "check", "failure_case", "index"]]
        if "prompt_id" in table:
            cases["prompt_id"] = [table["prompt_id"].get(place) for place in cases["index"]]
        return [{str(name): value for name, value in case.items()} for case in cases.to_dict("records")]
    return []
