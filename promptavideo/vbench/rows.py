"""VBench's list of prompts, and what of it a prompt set holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from promptavideo.errors import InputError
from promptavideo.files import unreadable
from promptavideo.prompts import prompt_id
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.dimensions import DIMENSIONS


@dataclass(frozen=True)
class Row:
    """One prompt of VBench's list."""

    row: int
    prompt_en: str
    dimension: tuple[str, ...]
    auxiliary_info: dict[str, Any] | None = None


def read_rows(path: Path) -> list[Row]:
    """Read VBench's list of prompts as `wheel.write_rows` left it.

    Raises:
        InputError: The file is missing or no such list.
    """
    rows = TypeAdapter(Row)
    try:
        return [rows.validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise unreadable(path, "list of VBench's prompts", error) from error


def judged_rows(texts: Mapping[str, str], settings: VBenchSet, rows: Sequence[Row] | None) -> list[Row]:
    """The prompts to judge, as VBench lists them.

    Args:
        texts: {prompt_id: original prompt} of a set.
        settings: How the set is judged.
        rows: VBench's list, for `standard`.

    Raises:
        InputError: VBench's list does not hold a prompt, or judges none of them for one of the dimensions.
    """
    if settings.mode == "custom":
        every = tuple(name for name, one in DIMENSIONS.items() if not one.described)
        return [Row(place, text, every) for place, (_, text) in enumerate(sorted(texts.items()))]
    listed = [row for row in rows or [] if prompt_id(row.prompt_en) in texts]
    strangers = sorted(set(texts) - {prompt_id(row.prompt_en) for row in listed})
    if strangers:
        raise InputError(
            f"{len(strangers)} prompts are not in VBench's list, first {texts[strangers[0]]!r:.80}; judge the set with "
            "`mode: custom`"
        )
    found = {name for row in listed for name in row.dimension}
    if missing := [name for name in settings.names if name not in found]:
        raise InputError(
            f"none of the {len(texts)} prompts is judged for {', '.join(missing)} in VBench's list; take more or other "
            f"prompts, or name the dimensions that these are judged for: {', '.join(sorted(found))}"
        )
    return listed


def check_judged(texts: Mapping[str, str], sets: Mapping[str, VBenchSet], rows: Sequence[Row]) -> None:
    """Check, before anything is filmed, that VBench can judge prompts as evaluation sets want it.

    Args:
        texts: {prompt_id: prompt} of a prompt set.
        sets: The evaluation sets that judge it by VBench's list, by their name.
        rows: VBench's list.

    Raises:
        InputError: See `judged_rows`; names the evaluation set.
    """
    for name, settings in sets.items():
        try:
            judged_rows(texts, settings, rows)
        except InputError as error:
            raise InputError(f"evaluation.sets.{name}.vbench: {error}") from error
