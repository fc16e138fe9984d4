"""Adaptive concurrency limiter (AIMD) with a circuit breaker, for a shared server."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

News = Literal["answered", "busy", "down", "void"]
"""Outcome of a request: any answer, asked to slow down, no answer, or cancelled by the client."""

START = 8.0
"""Initial concurrency limit."""
TRIP = 5
"""Consecutive unanswered requests that open the circuit breaker."""
FIRST_REST_S, LONGEST_REST_S = 0.5, 30.0


class RequestSlot:
    """Permission for one request in flight; further `end` calls have no effect."""

    def __init__(self, limiter: "ConcurrencyLimiter") -> None:
        self.limiter, self.started = limiter, limiter.now()
        self._over = False

    def end(self, news: News, rest_s: float = 0.0) -> None:
        """Reports the outcome, and the pause in seconds that the server asked for."""
        if not self._over:
            self._over = True
            self.limiter.leave(self.started, news, rest_s)


class ConcurrencyLimiter:
    """Limits requests: additive increase on answers, multiplicative decrease on overload, a circuit breaker.

    An unreachable server gets no requests during a cool-down, then one at a time until an answer. Waiting requests
    never fail.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self.most, self.now = most, now
        self.limit = min(START, float(most))
        """Maximum concurrent requests, rounded down."""
        self.running = 0
        self.trips = 0
        """Consecutive openings of the circuit breaker."""
        self._failures = 0
        self._rest_until = self._slowed_at = self._tripped_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> RequestSlot:
        """Waits for a slot and takes it."""
        while (taken := self.try_enter()) is None:
            call = asyncio.get_running_loop().create_future()
            self._waiting.append(call)
            rest = self._rest_until - self.now()
            try:
                await asyncio.wait({call}, timeout=max(0.001, rest) if rest > 0 else None)
            except asyncio.CancelledError:
                self._admit_waiting()  # passes the wake-up on, as it may have been meant for another waiter
                raise
            finally:
                if call in self._waiting:
                    self._waiting.remove(call)
        return taken

    def try_enter(self) -> RequestSlot | None:
        """Takes a slot if one is free."""
        room = 1 if self._failures >= TRIP else int(self.limit)
        if self.now() < self._rest_until or self.running >= room:
            return None
        self.running += 1
        return RequestSlot(self)

    def leave(self, started: float, news: News, rest_s: float = 0.0) -> None:
        """Releases the slot of a request begun at `started`."""
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
        self._admit_waiting()

    def _slow(self, started: float) -> None:
        """Halves the limit once for all requests in flight together."""
        if started > self._slowed_at:
            self.limit = max(1.0, self.limit / 2.0)
            self._slowed_at = self.now()

    def _trip(self) -> None:
        rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0**self.trips)
        self.trips += 1
        self._tripped_at = self.now()
        self._rest_until = max(self._rest_until, self._tripped_at + rest)

    def _admit_waiting(self) -> None:
        """Wakes waiters up to the free slots; waiters in a cool-down have their own timeout."""
        room = max(1, int(self.limit) - self.running)
        while self._waiting and room:
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(None)
                room -= 1
