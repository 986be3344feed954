"""Progress lines: what stage, how many of how many, and the time left."""

import logging
import time

log = logging.getLogger("promptavideo.progress")


class Progress:
    """Logs a line at the start, at most every `interval` seconds, and at the end."""

    def __init__(self, stage: str, total: int, unit: str, done: int = 0, interval: float = 10.0) -> None:
        self.stage, self.total, self.unit, self.done, self.interval = stage, total, unit, done, interval
        self._start, self._first, self._last = time.monotonic(), done, time.monotonic()
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
        log.info("%s: %d/%d %s, %s left", self.stage, self.done, self.total, self.unit, _clock(left))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
