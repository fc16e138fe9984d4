"""A bounded queue of requests: some run, some wait, further ones are refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.serving.refusal import crowded

MEMORY = 0.9
"""Weight of the earlier requests in the mean duration."""


class RequestQueue:
    """Turns of requests, first come, first served."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self.limit, self.waiting = running, waiting
        self.entered = 0
        """Requests that run or wait."""
        self._turns = asyncio.Semaphore(running)
        self._mean_s = 1.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and holds it. Raises Refusal (429) at once when too many wait already."""
        if self.entered >= self.limit + self.waiting:
            seconds = self._mean_s * self.entered / self.limit
            raise crowded(f"{self.entered} requests are running or waiting; try again later", seconds)
        self.entered += 1
        try:
            async with self._turns:
                started = time.monotonic()
                try:
                    yield
                finally:
                    self._mean_s = MEMORY * self._mean_s + (1 - MEMORY) * (time.monotonic() - started)
        finally:
            self.entered -= 1
