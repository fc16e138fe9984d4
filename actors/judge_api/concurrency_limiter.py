"""Decides when a request may go to a server that others use too: how many at once, and none while it rests."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

News = Literal["answered", "busy", "down", "void"]
"""How a request ended: with any answer, with a plea to slow down, without an answer, or called off by us."""

START = 8.0
"""Requests at once before anything is known."""
TRIP = 5
"""Requests in a row without an answer after which the server counts as gone."""
FIRST_REST_S, LONGEST_REST_S = 0.5, 30.0


class RequestSlot:
    """The right to have one request under way; given back once, however often that is said."""

    def __init__(self, gate: "ConcurrencyLimiter") -> None:
        self.gate, self.started = gate, gate.now()
        self._over = False

    def end(self, news: News, rest_s: float = 0.0) -> None:
        """Says how the request ended, and for how long the server asked to be left alone."""
        if not self._over:
            self._over = True
            self.gate.leave(self.started, news, rest_s)


class ConcurrencyLimiter:
    """Lets requests through: additive increase on answers, multiplicative decrease on pleas, a circuit breaker.

    A server that seems gone is left alone for a while, then tried with one request at a time until one is answered.
    Whoever waits here loses nothing: no request fails because the gate is shut.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self.most, self.now = most, now
        self.limit = min(START, float(most))
        """Requests that may run at once; its whole part counts."""
        self.running = 0
        self.trips = 0
        """Times in a row that the server was found gone."""
        self._failures = 0
        self._rest_until = self._slowed_at = self._tripped_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> RequestSlot:
        """Waits for a turn and takes it."""
        while (taken := self.try_enter()) is None:
            call = asyncio.get_running_loop().create_future()
            self._waiting.append(call)
            rest = self._rest_until - self.now()
            try:
                await asyncio.wait({call}, timeout=max(0.001, rest) if rest > 0 else None)
            except asyncio.CancelledError:
                self._wake()  # the call may have been meant for somebody who still waits
                raise
            finally:
                if call in self._waiting:
                    self._waiting.remove(call)
        return taken

    def try_enter(self) -> RequestSlot | None:
        """Takes a turn if there is one at once."""
        room = 1 if self._failures >= TRIP else int(self.limit)
        if self.now() < self._rest_until or self.running >= room:
            return None
        self.running += 1
        return RequestSlot(self)

    def leave(self, started: float, news: News, rest_s: float = 0.0) -> None:
        """Takes a turn back: the request that began at `started` ended so."""
        self.running -= 1
        if news == "answered":
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
            self._failures = self.trips = 0
        elif news in ("busy", "down"):
            self._slow(started)
            self._rest_until = max(self._rest_until, self.now() + rest_s)
        if news == "down" and started > self._tripped_at:
            self._failures += 1
            if self._failures >= TRIP:
                self._trip()
        self._wake()

    def _slow(self, started: float) -> None:
        """One cut for all requests that were under way together."""
        if started > self._slowed_at:
            self.limit = max(1.0, self.limit / 2.0)
            self._slowed_at = self.now()

    def _trip(self) -> None:
        rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0**self.trips)
        self.trips += 1
        self._tripped_at = self.now()
        self._rest_until = max(self._rest_until, self._tripped_at + rest)

    def _wake(self) -> None:
        """As many as may go now look again; those shut out by a rest have a timer of their own."""
        room = max(1, int(self.limit) - self.running)
        while self._waiting and room:
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(None)
                room -= 1
