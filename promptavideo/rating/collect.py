"""From what raters gave to one table of votes: files that were handed over, and the server's databases.

Nothing is left out in silence: each vote that does not count is counted by the reason.
"""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.rating.folder import FORMAT, opened
from promptavideo.rating.plan import Answer, Plan, outcome

if TYPE_CHECKING:
    import pandas as pd

LONGEST_MS = 3_600_000

OTHER_PLAN, UNKNOWN_SLOT, NOT_IN_PLAN, MALFORMED = "other plan", "unknown slot", "not in the plan", "malformed file"
DUPLICATE, UNDONE, CONFLICT = "duplicate", "undone", "conflicting slot"
REASONS = (MALFORMED, OTHER_PLAN, UNKNOWN_SLOT, NOT_IN_PLAN, DUPLICATE, UNDONE, CONFLICT)
"""Why a vote does not count; of a malformed file the file is counted, since nobody knows its votes."""


class _Vote(BaseModel):
    """One answer, as a page wrote it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    vote: Annotated[str, Field(min_length=1, max_length=64)]
    position: int
    question: str
    round: Annotated[int, Field(ge=0)]
    left: str
    right: str
    answer: str
    milliseconds: Any = None


class _File(BaseModel):
    """What one rater gave."""

    model_config = ConfigDict(extra="ignore", strict=True)

    plan: str
    rater: Annotated[str, Field(min_length=1, max_length=64)]
    slot: int
    votes: list[_Vote]
    undone: list[str] = []


@dataclass
class Record:
    """What was read, and what was left out of it."""

    plan: str
    files: list[str]
    malformed: dict[str, str] = field(default_factory=dict)
    """{file: what is wrong with it}."""
    read: int = 0
    """Votes in all files that could be read."""
    counted: int = 0
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    """{slot: the raters who are left out there}."""


def collect(plan: Plan, paths: Sequence[Path]) -> tuple["pd.DataFrame", Record]:
    """Read votes of a plan.

    Of two raters at one place, as two who were given the same number, the one with more votes counts, and of two with
    equally many the one whose random number sorts first.

    Args:
        plan: The plan.
        paths: Files and databases.

    Returns:
        A `schemas.VOTES` table, and what was left out.
    """
    import pandas as pd

    record = Record(plan.id, [str(path) for path in paths])
    left_out = Counter[str]()
    given: dict[str, tuple[str, int, _Vote]] = {}
    undone: set[tuple[str, str]] = set()
    for path in sorted(paths):
        for one in _read(path, record):
            record.read += len(one.votes)
            if one.plan != plan.id:
                left_out[OTHER_PLAN] += len(one.votes)
                continue
            if not 1 <= one.slot <= len(plan.slots):
                left_out[UNKNOWN_SLOT] += len(one.votes)
                continue
            undone |= {(one.rater, name) for name in one.undone}
            for vote in one.votes:
                key = f"{one.rater} {vote.vote}"
                if not _fits(plan, one.slot, vote):
                    left_out[NOT_IN_PLAN] += 1
                elif key in given:
                    left_out[DUPLICATE] += 1
                else:
                    given[key] = one.rater, one.slot, vote
    kept: dict[tuple[str, int, int, str], _Vote] = {}
    for rater, slot, vote in sorted(given.values(), key=lambda one: -one[2].round):  # stable: else as they were read
        if (rater, vote.vote) in undone:
            left_out[UNDONE] += 1
        elif (rater, slot, vote.position, vote.question) in kept:
            left_out[DUPLICATE] += 1
        else:
            kept[rater, slot, vote.position, vote.question] = vote
    chosen = _one_each(kept, record, left_out)
    record.counted = len(chosen)
    record.left_out |= left_out
    for reason in (one for one in REASONS if record.left_out[one]):
        logging.warning("left out, %s: %d", reason, record.left_out[reason])
    for file, why in record.malformed.items():
        logging.warning("%s: cannot be read as votes (%s)", file, why)
    logging.info("%d of %d votes of %d files count", record.counted, record.read, len(paths))
    rows = [_row(plan, *key, vote) for key, vote in sorted(chosen.items())]
    return pd.DataFrame(rows, columns=COLUMNS).astype(TYPES), record


def write(votes: "pd.DataFrame", record: Record, table: Path, path: Path) -> None:
    """Write a table of votes and the record of what was left out of it."""
    from promptavideo.schemas import VOTES, write_table

    write_table(votes, table, VOTES)
    write_text(path, json.dumps(vars(record), indent=1) + "\n")


TYPES = {
    "rater": "str", "slot": "int64", "position": "int64", "kind": "str", "item": "str", "refiner": "str",
    "against": "str", "prompt_id": "str", "replicate": "int64", "question": "str", "left": "str", "answer": "str",
    "outcome": "str", "milliseconds": "Int64",
}  # fmt: skip
COLUMNS = list(TYPES)


def _read(path: Path, record: Record) -> Iterator[_File]:
    """What raters gave by one file; one that cannot be used is noted."""
    try:
        yield from _read_database(path) if path.suffix == ".sqlite" else [_read_file(path)]
    except (OSError, ValueError, sqlite3.Error, InputError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        record.malformed[str(path)] = said
        record.left_out[MALFORMED] += 1


def _read_file(path: Path) -> _File:
    said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise InputError("it is no file of votes")
    if said.get("version") != 1:
        raise InputError(f"its version {said.get('version')!r} is not known")
    return _File.model_validate(said)


def _read_database(path: Path) -> list[_File]:
    connection = opened(path)
    try:
        connection.execute("BEGIN")  # one state of it, though a server goes on writing
        (plan,) = connection.execute("SELECT plan FROM study").fetchone() or ("",)
        names = ("vote", "rater", "slot", "position", "question", "round", "left", "right", "answer", "milliseconds")
        rows = connection.execute(
            "SELECT vote, rater, slot, position, question, round, left_file, right_file, answer, milliseconds "
            "FROM votes ORDER BY rowid"
        ).fetchall()
        undone = [name for (name,) in connection.execute("SELECT vote FROM undone")]
    finally:
        connection.close()
    by_rater: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        said = dict(zip(names, row, strict=True))
        by_rater.setdefault((said["rater"], said["slot"]), []).append(said)
    return [
        _File.model_validate({"plan": plan, "rater": rater, "slot": slot, "votes": votes, "undone": undone})
        for (rater, slot), votes in by_rater.items()
    ]


def _fits(plan: Plan, slot: int, vote: _Vote) -> bool:
    """Whether a vote is an answer to what a place shows."""
    positions = plan.slots[slot - 1]
    if not 1 <= vote.position <= len(positions) or vote.question not in plan.questions:
        return False
    position = positions[vote.position - 1]
    shown = plan.named[position.item].files(position)
    return (vote.left, vote.right) == shown and vote.answer in Answer.__args__  # type: ignore[attr-defined]


def _one_each(
    kept: dict[tuple[str, int, int, str], _Vote], record: Record, left_out: Counter[str]
) -> dict[tuple[str, int, int, str], _Vote]:
    """The votes of one rater at each place."""
    sizes = Counter((slot, rater) for rater, slot, *_ in kept)
    winner: dict[int, str] = {}
    for (slot, rater), _ in sorted(sizes.items(), key=lambda one: (-one[1], one[0])):
        if winner.setdefault(slot, rater) != rater:
            record.conflicts.setdefault(str(slot), []).append(rater)
    chosen = {key: vote for key, vote in kept.items() if winner[key[1]] == key[0]}
    left_out[CONFLICT] += len(kept) - len(chosen)
    return chosen


def _row(plan: Plan, rater: str, slot: int, number: int, question: str, vote: _Vote) -> dict[str, Any]:
    position = plan.slots[slot - 1][number - 1]
    item = plan.named[position.item]
    answer: Answer = vote.answer  # type: ignore[assignment]
    taken = vote.milliseconds
    return {
        "rater": rater,
        "slot": slot,
        "position": number,
        "kind": "check" if item.check else "item" if position.repeats is None else "repeat",
        "item": item.name,
        "refiner": item.first.refiner,
        "against": item.second.refiner,
        "prompt_id": item.prompt_id,
        "replicate": item.replicate,
        "question": question,
        "left": item.side(position.left).refiner,
        "answer": answer,
        "outcome": outcome(position, answer),
        "milliseconds": taken if isinstance(taken, int) and 0 <= taken <= LONGEST_MS else None,
    }
