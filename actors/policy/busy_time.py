"""Says how long an engine was busy, when it serves many requests at once."""

import time
from collections.abc import Callable


class BusyTimer:
    """Charges requests for an engine's time: while n are served at once, each is charged 1/n of every second.

    So the charges of all requests add up to the time in which the engine served any, however they overlapped.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._served = 0
        self._share, self._at = 0.0, clock()

    def enter(self) -> float:
        """A request arrives. Returns what `leave` wants back."""
        self._advance()
        self._served += 1
        return self._share

    def leave(self, entered: float) -> float:
        """A request is done, or failed. Returns the seconds it is charged."""
        self._advance()
        self._served -= 1
        return self._share - entered

    def _advance(self) -> None:
        """Brings what one request would have been charged since the start up to now."""
        now = self._clock()
        if self._served:
            self._share += (now - self._at) / self._served
        self._at = now
