"""Measures an engine's busy time under concurrent requests."""

import time
from collections.abc import Callable


class BusyTimer:
    """Charges each of n concurrent requests 1/n of every second.

    All charges add up to the time in which the engine served any request.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._served = 0
        self._share = 0.0
        self._at = clock()

    def enter(self) -> float:
        """Starts a request. Returns the token for `leave`."""
        self._advance()
        self._served += 1
        return self._share

    def leave(self, entered: float) -> float:
        """Ends a request, failed or not. Returns the seconds charged to it."""
        self._advance()
        self._served -= 1
        return self._share - entered

    def _advance(self) -> None:
        """Updates the charge of a request running since the start."""
        now = self._clock()
        if self._served:
            self._share += (now - self._at) / self._served
        self._at = now
