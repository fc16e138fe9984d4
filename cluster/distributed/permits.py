"""Permits: choose the actor for each call, limit concurrent calls per actor and exclude failed actors.

`Permits` works within one process. When several episode workers share the actors, it runs in the router
(`cluster.distributed.router`), which the workers call.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from cluster.distributed.call_counts import CallCounts
from rollout.errors import MachineError

logger = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""First and longest pause between pings of a failed actor."""
SLACK = 4
"""An actor with affinity is still chosen with up to this many calls (or half as many again) above the least loaded."""
HOMES = 8192
"""Size of the affinity table; the least recently used key is evicted first."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to call one actor, or the index of the episode worker that already has the answer."""

    place: int = -1
    worker: int = -1


class PermitSource(Protocol):
    """Protocol of what grants a pool's permits: this process or the router."""

    async def acquire(self, near: Hashable = None, shared: str = "") -> Permit:
        """Waits for a permit: for the actor that served the last call with the same `near` key, unless it is clearly
        more loaded than the least loaded one. Calls with the same `shared` name have the same answer.

        Raises MachineError when no actor is healthy for as long as a call may take.
        """
        ...

    def release(self, place: int, *, failed: bool = False) -> None:
        """Returns a permit; with `failed`, the actor gets no calls until it answers a ping."""
        ...

    def forget(self, shared: str) -> None:
        """Drops the shared answer of that name; the next call computes it again."""
        ...

    def close(self) -> None:
        """Stops pinging failed actors."""
        ...


class Permits:
    """Permits for the actors of one pool, first come, first served.

    `ping` calls an actor and raises MachineError when it does not answer.
    """

    def __init__(
        self, name: str, num: int, *, limit: int, timeout_s: float, ping: Callable[[int], Awaitable[object]]
    ) -> None:
        self.name, self.limit = name, limit
        self.timeout_s, self.ping = timeout_s, ping
        self.loads = CallCounts(num)
        self.homes: OrderedDict[Hashable, int] = OrderedDict()
        self.waiting: deque[tuple[asyncio.Future[int], Hashable]] = deque()
        self.recovering: dict[int, asyncio.Task[None]] = {}
        """Failed actors, each with the task that pings it."""
        self.closed = False

    async def acquire(self, near: Hashable = None, shared: str = "") -> Permit:
        """See `PermitSource`."""
        place = self.take(near)
        return Permit(await self._wait(near) if place is None else place)

    def take(self, near: Hashable = None) -> int | None:
        """A permit if one is free at once; None when none is, or when earlier callers are waiting."""
        return None if self.waiting else self._take(near)

    def release(self, place: int, *, failed: bool = False) -> None:
        """See `PermitSource`."""
        if failed:
            self._rest(place)
        self.loads.add(place, -1)
        self._grant()

    def hold(self, place: int) -> None:
        """Counts a call that is already running on an actor."""
        self.loads.add(place, 1)

    def forget(self, shared: str) -> None:
        """No-op: answers are shared between processes only by the router."""

    def close(self) -> None:
        """See `PermitSource`."""
        self.closed = True
        for task in self.recovering.values():
            task.cancel()

    async def _wait(self, near: Hashable) -> int:
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append((turn, near))
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=self.timeout_s)
                if not turn.done() and self.loads.least() is None:
                    num = len(self.loads)
                    seconds = self.timeout_s
                    raise MachineError(f"none of {num} {self.name} actors answered for {seconds:.0f} s")
            return turn.result()
        except BaseException:
            if turn.done():
                self.release(turn.result())
            turn.cancel()
            self._grant()
            raise

    def _grant(self) -> None:
        """Grants permits to the waiting callers, in order."""
        while self.waiting:
            turn, near = self.waiting[0]
            if not turn.cancelled():
                place = self._take(near)
                if place is None:
                    return
                turn.set_result(place)
            self.waiting.popleft()

    def _take(self, near: Hashable) -> int | None:
        place = self.loads.least()
        if place is None or self.loads.counts[place] >= self.limit:
            return None
        place = place if near is None else self._home(near, place)
        self.loads.add(place, 1)
        return place

    def _home(self, near: Hashable, least: int) -> int:
        """The actor with affinity for `near`, or the least loaded one.

        The affinity moves to the least loaded actor when its actor has failed, is full or is clearly more loaded.
        """
        home = self.homes.pop(near, least)
        counts = self.loads.counts
        most = min(self.limit - 1, counts[least] + max(SLACK, counts[least] // 2))
        if home in self.recovering or counts[home] > most:
            home = least
        self.homes[near] = home
        if len(self.homes) > HOMES:
            self.homes.popitem(last=False)
        return home

    def _rest(self, place: int) -> None:
        if place not in self.recovering and not self.closed:
            self.loads.close(place)
            task = asyncio.create_task(self._recover(place), name=f"recovery of {self.name}-{place}")
            task.add_done_callback(lambda _: self._return(place))
            self.recovering[place] = task

    def _return(self, place: int) -> None:
        del self.recovering[place]
        self.loads.open(place)
        if not self.closed:
            self._grant()

    async def _recover(self, place: int) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.ping(place)
            except MachineError as fault:
                logger.warning("%s-%d does not answer: %s", self.name, place, fault)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                return
