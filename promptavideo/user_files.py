"""Files of text and of rows that a user wrote; what cannot be read is an error that names the line."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from promptavideo.errors import InputError

Row = tuple[int, Sequence[object]]
"""The line where a row begins, or its number in a `.parquet` file, and its values; None where it has none."""


def read_text(key: str, path: Path) -> str:
    """The text of a file.

    Args:
        key: The entry of the configuration that names it, such as `prompt_sets.demo.file`, for messages.
        path: Where it is.

    Raises:
        InputError: It does not exist, cannot be read, or is not UTF-8.
    """
    data = _read(key, path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{key}: {path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start}); "
            "save the file as UTF-8"
        ) from error


def read_columns(key: str, path: Path, columns: Mapping[str, str]) -> list[Row]:
    """The named columns of a `.csv`, `.jsonl` or `.parquet` file.

    Args:
        key: The entry of the configuration whose `file` it is, such as `prompt_sets.demo`, for messages.
        path: Where it is.
        columns: {key of that entry: column or JSON key that it names}; the order is that of the values.

    Raises:
        InputError: The file cannot be read as what its suffix says, or has rows and not such a column.
    """
    wanted = list(columns.values())
    names, rows = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](f"{key}.file", path, wanted)
    for name, column in columns.items():
        if names and column not in names:
            known = ", ".join(names)[:200]
            raise InputError(f"{key}.{name}: {path}: no column {column!r} among {known}; name the one to use")
    return rows


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{key}: {path} does not exist; check the path (relative to the repository)") from None
    except OSError as error:
        raise InputError(f"{key}: {path} cannot be read ({error.strerror})") from error


def _csv(key: str, path: Path, columns: list[str]) -> tuple[list[str], list[Row]]:
    records = csv.reader(io.StringIO(read_text(key, path), newline=""), strict=True)
    rows: list[Row] = []
    begin = 1
    try:
        names = next(records, [])
        begin = records.line_num + 1
        for record in records:
            if record:
                if len(record) != len(names):
                    raise InputError(
                        f"{key}: {path}, line {begin}: {len(record)} fields where the header has {len(names)}; put "
                        "quotes around a text that holds a comma"
                    )
                rows.append((begin, [record[names.index(name)] if name in names else None for name in columns]))
            begin = records.line_num + 1
    except csv.Error as error:
        raise InputError(f"{key}: {path}, line {begin}: not valid CSV ({error}); mend the quotes") from error
    return names, rows


def _jsonl(key: str, path: Path, columns: list[str]) -> tuple[list[str], list[Row]]:
    names: dict[str, None] = {}
    rows: list[Row] = []
    for number, line in enumerate(read_text(key, path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{key}: {path}, line {number}: not valid JSON ({error}); write one object a line"
            ) from error
        if not isinstance(row, dict):
            shape = ", ".join(f"{json.dumps(name)}: …" for name in columns)
            raise InputError(f"{key}: {path}, line {number}: a JSON object is needed, such as {{{shape}}}")
        names |= dict.fromkeys(row)
        rows.append((number, [row.get(name) for name in columns]))
    return list(names), rows


def _parquet(key: str, path: Path, columns: list[str]) -> tuple[list[str], list[Row]]:
    import pyarrow.parquet as pq

    data = io.BytesIO(_read(key, path))
    try:
        names = pq.read_schema(data).names
        rows = pq.read_table(data, columns=[name for name in columns if name in names]).to_pylist()
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: {path}: cannot be read as parquet ({error}); make it again") from error
    return names, [(number, [row.get(name) for name in columns]) for number, row in enumerate(rows, 1)]
