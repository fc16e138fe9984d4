"""Rate limit of each client: a token bucket with a burst of a tenth of a minute's requests."""

import time
from collections import OrderedDict
from collections.abc import Callable

from cluster.serving.refusal import crowded

CLIENTS = 4096
"""Number of clients that are remembered; the one that was idle longest is forgotten first."""


class RateLimit:
    """Admits `per_minute` requests a minute of each client."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_s = per_minute / 60.0
        self.burst = max(1.0, per_minute / 10.0)
        self.clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Client to its requests left, and the time of that count."""

    def admit(self, client: str) -> None:
        """Counts one request. Raises Refusal (429) when the client has none left."""
        now = self.clock()
        left, then = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.per_s)
        admitted = left >= 1.0
        self._left[client] = (left - admitted, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        if not admitted:
            raise crowded(f"more than {60 * self.per_s:g} requests a minute from one client", (1.0 - left) / self.per_s)
