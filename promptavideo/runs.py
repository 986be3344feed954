"""A run's record: its jobs, what each should take, and how far they are, so that every job knows the time left for all.

Who starts the jobs writes the record before the first one and names it in an environment variable. Each job adds lines
to a journal beside it. No result depends on either, and a job that cannot write goes on without.
"""

import heapq
import json
import logging
import os
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.records import read_record

log = logging.getLogger(__name__)

VARIABLE = "PROMPTAVIDEO_RUN"
"""Environment variable with the path of the record."""

SLOW, GRACE = 3.0, 60.0
"""A job that takes `SLOW` times its estimate, and `GRACE` seconds more than it, is worth a warning."""

SETTLED = 20.0
"""Seconds of work from which on its pace counts: the first batch is slower than the others."""

PRIOR = 30.0
"""Seconds of work as estimated that outweigh what jobs have shown so far."""

SHORT = 10.0
"""Seconds below which an estimate is all start-up, which shows nothing."""


@dataclass(frozen=True)
class Job:
    """A job of a run."""

    name: str
    """Its log file, by which a job finds itself."""
    stage: str
    """What it is a part of: of each stage, one job says that it is slow."""
    part: tuple[str, str]
    """Generator, or nothing, and part of the method: ("mini-t2v", "evolution"). What an estimate is broken down to."""
    kind: str
    """Jobs of a kind are fast or slow together."""
    seconds: float | None
    """What it should take; None where nobody knows."""
    cores: int
    after: tuple[int, ...]
    """Places of the jobs that it waits for."""


@dataclass(frozen=True)
class Run:
    """What a run has to do."""

    cores: int
    jobs: tuple[Job, ...]


@dataclass
class _State:
    """How far a job is, by its last line in the journal."""

    job: int
    at: float
    """When it was written, in seconds since the epoch."""
    spent: float
    """Seconds since the job began."""
    left: float | None = None
    """None where the job cannot tell."""
    share: float = 1.0
    """The part of its work that it did not find done."""
    ended: bool = False


def makespan(jobs: Sequence[Job], seconds: Mapping[int, float], cores: int, running: Collection[int] = ()) -> float:
    """Seconds until jobs are done on some cores, each after those that it waits for, wide ones first.

    Args:
        jobs: All jobs of a run.
        seconds: What is left of each job, by its place; the others are done.
        cores: Cores of the machine; a job that wants more gets all.
        running: The places of those that are at work already.
    """
    waits = {place: sum(before in seconds for before in jobs[place].after) for place in seconds}
    followers: dict[int, list[int]] = defaultdict(list)
    for place in seconds:
        for before in jobs[place].after:
            if before in seconds:
                followers[before].append(place)
    ready: dict[int, list[int]] = defaultdict(list)  # by width, the next one last
    for place in sorted(seconds, reverse=True):
        if not waits[place] and place not in running:
            ready[min(jobs[place].cores, cores)].append(place)
    going = [(seconds[place], place) for place in running if place in seconds]
    heapq.heapify(going)
    free, now = cores - sum(min(jobs[place].cores, cores) for _, place in going), 0.0
    while True:
        for width in sorted(ready, reverse=True):
            while ready[width] and width <= free:
                place = ready[width].pop()
                heapq.heappush(going, (now + seconds[place], place))
                free -= width
        if not going:
            return now
        now, ended = heapq.heappop(going)
        free += min(jobs[ended].cores, cores)
        for place in followers[ended]:
            waits[place] -= 1
            if not waits[place]:
                ready[min(jobs[place].cores, cores)].append(place)


def begin(run: Run, path: Path) -> None:
    """Write a run's record, and forget what jobs of an earlier one left beside it."""
    shutil.rmtree(_beside(path), ignore_errors=True)
    _beside(path).mkdir(parents=True)
    write_text(path, json.dumps(asdict(run)))


def _beside(path: Path) -> Path:
    """The folder of what jobs write."""
    return path.with_suffix("")


class Member:
    """A process that does one job of a run."""

    def __init__(self, run: Run, place: int, folder: Path) -> None:
        self._run, self._place, self._folder = run, place, folder
        self._job = run.jobs[place]
        self._began = time.time()
        self.share = 1.0
        """The part of its work that it did not find done."""
        self._read, self._states = 0, dict[int, _State]()

    def time_left(self, left: float) -> float | None:
        """Note how far this job is, by its own seconds left, and give the run's; None if it cannot be noted."""
        now = time.time()
        self._note(now, left)
        spent = now - self._began
        if spent >= SETTLED:
            self._warn(spent, spent + left)
        self._look()
        if self._states.get(self._place) is None:
            return None
        return left_for_all(self._run, self._states.values(), now)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Note the job's beginning and end, and warn when it takes too long without a word."""
        self._note(time.time(), None)
        limit = self._limit()
        alarm = threading.Timer(limit, lambda: self._warn(limit, limit)) if limit else None
        if alarm:
            alarm.daemon = True
            alarm.start()
        try:
            yield
        finally:
            if alarm:
                alarm.cancel()
            self._note(time.time(), 0.0, ended=True)

    def is_first(self, what: str) -> bool:
        """Whether no job of the run has asked this before; False too where that cannot be noted."""
        try:
            (self._folder / re.sub(r"[^A-Za-z0-9_-]+", "-", what)).open("x").close()
        except OSError:
            return False
        return True

    def _note(self, now: float, left: float | None, ended: bool = False) -> None:
        line = json.dumps(asdict(_State(self._place, now, now - self._began, left, self.share, ended)))
        with suppress(OSError):
            # One write at the end of the file: lines of other processes stay whole.
            journal = os.open(self._folder / "journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(journal, f"{line}\n".encode())
            finally:
                os.close(journal)

    def _look(self) -> None:
        """Read what was added to the journal since the last look."""
        with suppress(OSError, ValueError, TypeError), (self._folder / "journal.jsonl").open("rb") as journal:
            journal.seek(self._read)
            for line in journal:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    state = _State(**json.loads(line))
                    self._states[state.job] = state

    def _limit(self) -> float | None:
        """From when on the job is slow, in seconds since it began."""
        return None if self._job.seconds is None else max(SLOW * self._job.seconds, self._job.seconds + GRACE)

    def _warn(self, spent: float, whole: float) -> None:
        """Say that the job is slow, unless another one of its stage has said so."""
        limit = self._limit()
        if limit is None or self._job.seconds is None or whole < limit:
            return
        if not self.is_first(f"slow {self._job.stage}"):
            return
        about = f", about {clock(whole)} in all" if whole > spent else ""
        log.warning(
            "%s: more than %g times its estimate of %s (%s so far%s). Likely causes: other programs on these cores "
            "(load %.1f on %d), memory that does not suffice and swaps, or bfloat16 on a processor without "
            "instructions for it (`dtype: auto` takes float32 there)",
            self._job.stage, SLOW, clock(self._job.seconds), clock(spent), about, os.getloadavg()[0],
            os.cpu_count() or 1,
        )  # fmt: skip


def left_for_all(run: Run, states: Collection[_State], now: float) -> float:
    """Seconds left for a run.

    Jobs that have not begun take what was estimated, times what jobs of their kind took against their estimates, or
    all jobs where those say little.

    Args:
        run: What there is to do.
        states: How far the jobs are that have begun.
        now: Seconds since the epoch.
    """
    took, should = defaultdict[str, float](float), defaultdict[str, float](float)
    for state in states:
        job = run.jobs[state.job]
        if job.seconds is None or job.seconds < SHORT or state.left is None or state.share < 0.5:
            continue
        done = state.spent / max(state.spent + state.left, 1e-9)
        took[job.kind] += state.spent
        should[job.kind] += job.seconds * state.share * done
    usual = (sum(took.values()) + PRIOR) / (sum(should.values()) + PRIOR)
    pace = {kind: (took[kind] + PRIOR * usual) / (should[kind] + PRIOR) for kind in took}
    seconds = {place: (job.seconds or 0.0) * pace.get(job.kind, usual) for place, job in enumerate(run.jobs)}
    running = set()
    for state in states:
        if state.ended:
            del seconds[state.job]
            continue
        running.add(state.job)
        left = seconds[state.job] - state.spent if state.left is None else state.left
        seconds[state.job] = max(left - (now - state.at), 0.0)
    return makespan(run.jobs, seconds, run.cores, running)


_current: list[Member] = []


def current() -> Member | None:
    """The job of a run that this process does, if it is one."""
    return _current[-1] if _current else None


@contextmanager
def join(name: Path | None) -> Iterator[None]:
    """Do a job of the run that the environment names, if that has one of this name."""
    member = _find(name)
    if member is None:
        yield
        return
    _current.append(member)
    try:
        with member.at_work():
            yield
    finally:
        _current.remove(member)


def _find(name: Path | None) -> Member | None:
    path = os.environ.get(VARIABLE)
    if not path or name is None:
        return None
    try:
        run = read_record(Path(path), Run, "record of a run")
    except InputError as error:
        log.info("%s", error)
        return None
    place = next((place for place, job in enumerate(run.jobs) if job.name == str(name)), None)
    return None if place is None else Member(run, place, _beside(Path(path)))


def clock(seconds: float) -> str:
    """A duration as [h:]mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
