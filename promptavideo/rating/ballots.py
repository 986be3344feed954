"""The server's database of votes. Nothing in it is changed or deleted: a vote that is taken back has a mark of that."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptavideo.errors import InputError
from promptavideo.rating.folder import database
from promptavideo.rating.plan import Plan

SCHEMA = """
CREATE TABLE IF NOT EXISTS study (plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (rater TEXT PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, joined REAL NOT NULL);
CREATE TABLE IF NOT EXISTS votes (
  vote TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, slot INTEGER NOT NULL, position INTEGER NOT NULL,
  question TEXT NOT NULL, round INTEGER NOT NULL, left_file TEXT NOT NULL, right_file TEXT NOT NULL,
  answer TEXT NOT NULL, milliseconds INTEGER, received REAL NOT NULL, UNIQUE (rater, position, question, round)
);
CREATE TABLE IF NOT EXISTS undone (vote TEXT PRIMARY KEY REFERENCES votes, received REAL NOT NULL);
"""
"""`round` counts how often the answer before was taken back. Times are for people to read; nothing depends on them."""

BUSY_MS = 1000
ATTEMPTS = 3
"""How long, and how often, a database is waited for that another process writes."""


class BusyError(Exception):
    """The database is written by another process; the same request may be sent again."""


class FullError(Exception):
    """No place is free."""


@dataclass(frozen=True)
class Vote:
    """One answer, as a page sends it; that it fits the plan is checked before."""

    vote: str
    """Names it, so that one that is sent again is the same."""
    rater: str
    position: int
    question: str
    round: int
    left: str
    right: str
    answer: str
    milliseconds: int | None


class Ballots:
    """Places and votes of one plan.

    Args:
        folder: Where its database is.
        plan: The plan.
        idle_s: Seconds after which a rater who did nothing is taken to have left, by this process's own clock: a clock
            that is set anew moves nobody, and everybody counts as active when the server starts.
    """

    def __init__(self, folder: Path, plan: Plan, idle_s: float = 12 * 3600) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.plan, self.path, self.idle_s = plan, database(folder, plan.id), idle_s
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._seen: dict[str, float] = {}
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(SCHEMA)
            with self._transaction() as connection:
                if not connection.execute("SELECT 1 FROM study").fetchone():
                    connection.execute("INSERT INTO study VALUES (?)", (plan.id,))
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path}: cannot be used as a database of votes ({error}); if another program has it open, end "
                "that, and if it is damaged, move it away: what can still be read of it can be handed over by "
                "`sqlite3 FILE .recover`"
            ) from error

    def close(self) -> None:
        """Put what is written into the database itself, and close it."""
        with self._lock:
            self._connection.close()

    def join(self, rater: str) -> int:
        """The place of a rater, the same whenever asked.

        Raises:
            BusyError: The database is being written.
            FullError: Those who finished and those at work are as many as are wanted, or all places are taken.
        """
        with self._lock, self._transaction() as connection:
            found = connection.execute("SELECT slot FROM raters WHERE rater = ?", (rater,)).fetchone()
            if found is None:
                places = dict(connection.execute("SELECT rater, slot FROM raters ORDER BY slot").fetchall())
                answered = dict(
                    connection.execute(
                        "SELECT rater, COUNT(*) FROM votes WHERE vote NOT IN (SELECT vote FROM undone) GROUP BY rater"
                    ).fetchall()
                )
                taken = sum(
                    answered.get(one, 0) >= self.plan.steps(slot) or self._active(one) for one, slot in places.items()
                )
                if taken >= self.plan.raters or len(places) >= len(self.plan.slots):
                    raise FullError
                found = (max(places.values(), default=0) + 1,)
                connection.execute("INSERT INTO raters VALUES (?, ?, ?)", (rater, found[0], time.time()))
            self._seen[rater] = time.monotonic()
            return int(found[0])

    def slot(self, rater: str) -> int | None:
        """The place of a rater who has joined."""
        with self._lock, self._reading():
            found = self._connection.execute("SELECT slot FROM raters WHERE rater = ?", (rater,)).fetchone()
        return int(found[0]) if found else None

    def answers(self, rater: str) -> list[dict[str, Any]]:
        """What a rater has answered and not taken back, and how often each answer was taken back, in order."""
        query = (
            "SELECT vote, position, question, round, answer, vote IN (SELECT vote FROM undone) FROM votes "
            "WHERE rater = ? ORDER BY position, rowid"
        )
        with self._lock, self._reading():
            rows = self._connection.execute(query, (rater,)).fetchall()
        names = ("vote", "position", "question", "round", "answer", "undone")
        return [dict(zip(names, row, strict=True)) | {"undone": bool(row[5])} for row in rows]

    def vote(self, slot: int, vote: Vote) -> str:
        """Store a vote, durably; one that is there already stays as it is.

        Returns:
            The answer that is stored at its place.

        Raises:
            BusyError: The database is being written.
        """
        row = (
            vote.vote, vote.rater, slot, vote.position, vote.question, vote.round, vote.left, vote.right, vote.answer,
            vote.milliseconds, time.time(),
        )  # fmt: skip
        place = (vote.rater, vote.position, vote.question, vote.round)
        with self._lock, self._transaction() as connection:
            connection.execute(f"INSERT OR IGNORE INTO votes VALUES ({', '.join('?' * len(row))})", row)
            (stored,) = connection.execute(
                "SELECT answer FROM votes WHERE rater = ? AND position = ? AND question = ? AND round = ?", place
            ).fetchone() or ("",)
        self._seen[vote.rater] = time.monotonic()
        return str(stored)

    def undo(self, rater: str, vote: str) -> bool:
        """Mark a rater's vote as taken back; False if the rater has none of that name.

        Raises:
            BusyError: The database is being written.
        """
        with self._lock, self._transaction() as connection:
            if not connection.execute("SELECT 1 FROM votes WHERE vote = ? AND rater = ?", (vote, rater)).fetchone():
                return False
            connection.execute("INSERT OR IGNORE INTO undone VALUES (?, ?)", (vote, time.time()))
        self._seen[rater] = time.monotonic()
        return True

    def _active(self, rater: str) -> bool:
        return time.monotonic() - self._seen.get(rater, self._started) < self.idle_s

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write at once or not at all."""
        with self._reading():
            self._begin()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                if attempt == ATTEMPTS:
                    raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise BusyError(str(error)) from error
