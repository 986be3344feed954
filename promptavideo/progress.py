"""Progress lines: what stage, how many of how many, and the time left for it and for the run that it is part of."""

import logging
import time

from promptavideo import runs

log = logging.getLogger("promptavideo.progress")


class Progress:
    """Logs a line at the start, at most every `interval` seconds, and at the end."""

    def __init__(self, stage: str, total: int, unit: str, done: int = 0, interval: float = 10.0) -> None:
        self.stage, self.total, self.unit, self.done, self.interval = stage, total, unit, done, interval
        self._start, self._first, self._last = time.monotonic(), done, time.monotonic()
        if job := runs.current():
            job.share = 1 - done / max(total, 1)
        kept = f" ({done} already there)" if done else ""
        log.info("%s: %d %s%s", stage, total, unit, kept)

    def advance(self, count: int) -> None:
        """Count `count` more units as done."""
        self.done += count
        now = time.monotonic()
        if self.done < self.total and now - self._last < self.interval:
            return
        self._last = now
        spent = now - self._start
        left = spent / max(self.done - self._first, 1) * (self.total - self.done)
        job = runs.current()
        whole = job.time_left(left) if job else None
        run = "" if whole is None else f", run {runs.clock(whole)} left"
        log.info("%s: %d/%d %s, %s left%s", self.stage, self.done, self.total, self.unit, runs.clock(left), run)
