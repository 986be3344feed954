"""Pairs of somebody else's to train on, in place of the evolution's: made once into a checked table."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from promptavideo.answers import no_prompt
from promptavideo.datasets import Files, HubDataset, LocalDataset, Record, UrlDataset, open_dataset
from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.prompts import find_fault, prompt_id
from promptavideo.records import read_record
from promptavideo.schemas import PAIRS, write_table
from promptavideo.settings import Section
from promptavideo.text import clean, text_key

log = logging.getLogger(__name__)

SUFFIXES = (".json",)
MAX_BYTES = 500_000_000
"""Of one file, which is read as a whole."""

Texts = tuple[str, str]
"""An original prompt and its refined text."""


class _Pairs(Section):
    """What sources of pairs have in common."""

    max_words: int = Field(300, ge=1)
    """Pairs with a longer text are left out."""


class _Patterns(Section):
    files: list[str] = Field(["*.json"], min_length=1)
    """Glob patterns of the files to read, where `*` also matches `/`: JSON, a list of `[original, refined]`."""


class HubPairs(_Patterns, HubDataset, _Pairs):
    """A dataset of the Hugging Face Hub at a pinned revision. A token is read from the environment (HF_TOKEN) alone."""


class LocalPairs(_Patterns, LocalDataset, _Pairs):
    """A file or folder of yours, read like a downloaded dataset."""


class UrlPairs(UrlDataset, _Pairs):
    """One JSON file at an address, a list of `[original, refined]`."""


PairSource = Annotated[HubPairs | LocalPairs | UrlPairs, Field(discriminator="kind")]


def read_pairs(
    name: str, settings: PairSource, root: Path, table: Path, origin: Path, tests: Mapping[str, Iterable[str]]
) -> None:
    """Write a source's usable pairs, and where they come from.

    Left out and counted are rows that are no pair of texts, have one side or none, hold an answer that is no prompt,
    repeat an earlier original, or are of a prompt that is tested on.

    Args:
        name: The source's name in the configuration, for messages.
        settings: Its entry.
        root: Folder that a local path is relative to.
        table: Gets a `schemas.PAIRS` table (parquet) without totals, sorted by prompt_id.
        origin: Gets the source, its files with digests, and the counts of rows kept and left out (JSON).
        tests: The prompts of each evaluation set, by its name.

    Raises:
        InputError: The source cannot be reached or read, no file matches, a file is no list, or no row is usable.
    """
    files = open_dataset(settings, f"pair_sources.{name}", root, SUFFIXES)
    tested = {text_key(prompt): set_ for set_, prompts in tests.items() for prompt in prompts}
    record, chosen, left_out = Record(), dict[str, Texts](), defaultdict[str, list[str]](list)
    for file in files.names:
        with files.errors():
            rows = _rows(files, file)
        for number, row in enumerate(rows, 1):
            record.rows += 1
            texts, fault = _usable(row, settings.max_words)
            key = text_key(texts[0])
            if not fault and key in tested:
                left_out[tested[key]].append(texts[0])
                fault = "of a prompt that is tested on"
            if not fault and key in chosen:
                fault = "repeated"
            if fault:
                record.drop(fault, file, number)
            else:
                chosen[key] = texts
    if not chosen:
        raise InputError(f"{files.key}: none of {record.rows} rows is a usable pair ({record.told}); check `files`")
    made = pd.DataFrame([(prompt_id(prompt), prompt, refined) for prompt, refined in chosen.values()])
    made.columns = pd.Index(["prompt_id", "prompt", "refined"])
    made = made.sort_values("prompt_id", ignore_index=True)
    made["total"] = float("nan")
    content = {
        "source": settings.model_dump(),
        "revision": files.revision,
        "files": files.digests,
        **record.content(),
        "tested_on": dict(sorted(left_out.items())),
        "kept": len(made),
    }
    write_text(origin, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_table(made, table, PAIRS)
    log.info("%s: kept %d of %d pairs; left out: %s", name, len(made), record.rows, record.told)
    for line in told(record, left_out):
        log.info("%s: %s", name, line)


def told(record: Record, tested: Mapping[str, list[str]]) -> Iterator[str]:
    """Which rows were left out, the first of each kind, and every prompt that is tested on."""
    for kind, rows in sorted(record.examples.items()):
        yield f"{kind}: {', '.join(rows)}" + (", …" if record.dropped[kind] > len(rows) else "")
    for set_, prompts in sorted(tested.items()):
        yield f"left out, since {set_} tests on them: {'; '.join(prompts)}"


def origin_of(name: str, record: Path) -> dict[str, Any]:
    """What a booster's card says of the released pairs that it learned from: source, revision, digests, counts.

    Args:
        name: The source's name.
        record: What `read_pairs` wrote beside the table.

    Raises:
        InputError: The record is missing, or is none and is removed.
    """
    said = read_record(record, dict[str, Any], "record of a source of pairs")
    kept = ("source", "revision", "files", "rows", "dropped", "kept")
    return {"name": name, **{key: said[key] for key in kept if key in said}}


def _rows(files: Files, file: str) -> list[Any]:
    where = f"{files.key}: {file}"
    with files.open(file) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{where}: holds more than {MAX_BYTES} bytes; split the file")
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid JSON ({error}); a list of [original, refined] is needed") from error
    if not isinstance(rows, list):
        raise InputError(f"{where}: holds no list; a list of [original, refined] is needed")
    return rows


def _usable(row: Any, max_words: int) -> tuple[Texts, str]:
    """A row's texts, each on one clean line, and what rules the row out or ""."""
    if not isinstance(row, list) or not all(one is None or isinstance(one, str) for one in row) or len(row) > 2:
        return ("", ""), "no pair of texts"
    given = [_encodable(one or "") for one in (*row, "", "")[:2]]
    texts = clean(given[0]), clean(given[1])
    if not any(texts):
        return texts, "empty"
    if not all(texts):
        return texts, "one-sided"
    for text in texts:
        if fault := find_fault(text, max_words, ""):
            return texts, fault.kind
    if reason := no_prompt(given[1]):
        return texts, f"refined into {reason}" if reason != "empty" else "one-sided"
    if text_key(texts[0]) == text_key(texts[1]):
        return texts, "unchanged"
    return texts, ""


def _encodable(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can escape and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
