"""Keeping to an endpoint's rate limits."""

import asyncio
import contextlib
import time


class Pacer:
    """Lets requests start at even distances, so that neither limit is passed, and pauses all of them at once.

    Limits are per process: the endpoint's own "too many requests", which pauses, is what several processes share.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next = self._paused = 0.0  # seconds of the monotonic clock

    def pause(self, seconds: float) -> None:
        """Let no request start for some seconds."""
        self._paused = max(self._paused, time.monotonic() + seconds)

    async def wait(self, tokens: int, stop: asyncio.Event) -> None:
        """Wait until a request of so many tokens may start, or until `stop` is set."""
        start = max(time.monotonic(), self._next)
        self._next = start + max(self._seconds_per_request, self._seconds_per_token * tokens)
        while (left := max(start, self._paused) - time.monotonic()) > 0 and not stop.is_set():
            await sleep(left, stop)


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but no longer than until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
