"""Measures how long an engine is busy while it serves many requests concurrently."""

import time
from collections.abc import Callable


class BusyTimer:
    """Divides an engine's time among requests: while n run concurrently, each is charged 1/n of every second.

    The charges of all requests therefore add up to the time in which the engine served any request.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._served = 0
        self._share, self._at = 0.0, clock()

    def enter(self) -> float:
        """Starts timing a request. Returns the token to pass to `leave`."""
        self._advance()
        self._served += 1
        return self._share

    def leave(self, entered: float) -> float:
        """Ends timing a request, finished or failed. Returns the seconds charged to it."""
        self._advance()
        self._served -= 1
        return self._share - entered

    def _advance(self) -> None:
        """Adds the time since the last call to the charge that a request running from the start would have."""
        now = self._clock()
        if self._served:
            self._share += (now - self._at) / self._served
        self._at = now
