"""A pool of Ray actors: least-loaded routing, deadlines, health, and Ray's errors in our own words.

Nothing here knows what an actor does: a pool asks a method of one of its handles and waits for the answer. A handle
that fails leaves the pool at once, for an idle one that fails fast would draw every call, and comes back when it
answers a ping. Calls that say what they are `near` go to the handle that had the last such call, which has it cached.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

from cluster.loads import Loads
from rollout.errors import MachineError, RelookError, StorageFault

logger = logging.getLogger(__name__)
PING_TIMEOUT_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""Between two pings of a handle that fails."""
SLACK = 4
"""Calls that a handle may have more than the least loaded, or half as many again, and still be sent what it is near."""
HOMES = 8192
"""Handles remembered for what is near them, those used last."""


class Pool:
    """Handles of one kind of actor. `limit` calls run on one handle at a time, the others wait here in order."""

    def __init__(
        self, name: str, handles: Sequence[Any], *, fault: type[MachineError], timeout_s: float, limit: int
    ) -> None:
        self.name, self.handles, self.fault, self.timeout_s = name, list(handles), fault, timeout_s
        self.loads = Loads(len(self.handles))
        self.homes: OrderedDict[Hashable, int] = OrderedDict()
        self.room = asyncio.Semaphore(limit * len(self.handles))
        self.recovering: dict[int, asyncio.Task[None]] = {}
        """Handles that failed, each with the task that waits for it to come back."""
        self.closed = False

    async def ask(self, method: str, *args: Any, near: Hashable = None, **kwargs: Any) -> Any:
        """Asks the least-loaded handle that is well; the one that was asked last for what is `near`, unless it is
        clearly more loaded. Raises the pool's fault when the actor dies or does not answer in time, and when none is
        well for as long as one may take to answer, or the pool is closed."""
        async with self.room:
            if self.closed:
                raise self.fault(f"the {self.name} pool is closed: nobody is there to {method}")
            place = await self._choose(near)
            self.loads.add(place, 1)
            try:
                return await self.ask_one(place, method, *args, **kwargs)
            except StorageFault:  # the handle is well
                raise
            except MachineError:
                self._rest(place)
                raise
            finally:
                self.loads.add(place, -1)

    def close(self) -> None:
        """Asks nobody any more, and waits for nobody to come back."""
        self.closed = True
        for task in self.recovering.values():
            task.cancel()

    async def ask_all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Asks every handle at once."""
        places = range(len(self.handles))
        return await asyncio.gather(*(self.ask_one(place, method, *args, **kwargs) for place in places))

    async def ask_one(self, place: int, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        """Asks one handle."""
        patience = self.timeout_s if timeout_s is None else timeout_s
        call = getattr(self.handles[place], method).remote(*args, **kwargs)
        return await answer(call, f"{self.name}-{place}.{method}", self.fault, patience)

    async def _choose(self, near: Hashable) -> int:
        """A handle that is well."""
        if len(self.recovering) == len(self.handles):
            await asyncio.wait(self.recovering.values(), timeout=self.timeout_s, return_when="FIRST_COMPLETED")
        place = self.loads.least()
        if place is None:
            raise self.fault(f"none of {len(self.handles)} {self.name} actors was well for {self.timeout_s:.0f} s")
        return place if near is None else self._home(near, place)

    def _home(self, near: Hashable, least: int) -> int:
        """Where the last call that was near went, unless that handle is unwell or clearly more loaded than the least
        loaded, which is the home from then on."""
        home, fewest = self.homes.pop(near, least), self.loads.counts[least]
        if home in self.recovering or self.loads.counts[home] > fewest + max(SLACK, fewest // 2):
            home = least
        self.homes[near] = home
        if len(self.homes) > HOMES:
            self.homes.popitem(last=False)
        return home

    def _rest(self, place: int) -> None:
        """Sends nothing to a handle until it answers a ping."""
        if place not in self.recovering and not self.closed:
            self.loads.close(place)
            task = asyncio.create_task(self._recover(place), name=f"recovery of {self.name}-{place}")
            task.add_done_callback(lambda _: self._return(place))
            self.recovering[place] = task

    def _return(self, place: int) -> None:
        del self.recovering[place]
        self.loads.open(place)

    async def _recover(self, place: int) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.ask_one(place, "ping", timeout_s=PING_TIMEOUT_S)
            except MachineError as fault:
                logger.warning("%s-%d is not well: %s", self.name, place, fault)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                return


class Line:
    """The way from one actor to all actors of a pool: blocking, where `Pool` is for those who wait for many things."""

    def __init__(self, name: str, handles: Sequence[Any], *, fault: type[MachineError], timeout_s: float) -> None:
        self.name, self.handles, self.fault, self.timeout_s = name, list(handles), fault, timeout_s
        self.num = len(self.handles)

    def ask_all(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """Calls a method of every actor at once, each with its own arguments, and waits until all are done or one
        failed. Raises the pool's fault, as `Pool` does."""
        asyncio.run(self._ask_all(method, arguments))

    async def _ask_all(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        calls = [getattr(handle, method).remote(*its) for handle, its in zip(self.handles, arguments, strict=True)]
        names = [f"{self.name}-{place}.{method}" for place in range(self.num)]
        await asyncio.gather(
            *(answer(call, name, self.fault, self.timeout_s) for call, name in zip(calls, names, strict=True))
        )


async def answer(call: Any, what: str, fault: type[MachineError], timeout_s: float) -> Any:
    """What a Ray call comes to. Raises `fault` when there is no answer in time, or Ray itself is why there is none."""
    from ray.exceptions import RayError, RayTaskError

    try:
        # Not `wait_for`: before Python 3.12 that forgets a cancellation that comes together with the answer.
        async with asyncio.timeout(timeout_s):
            return await call
    except (TimeoutError, RayError) as error:
        # What was raised on purpose crosses the wire as what it was; a bug keeps its remote traceback.
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, RelookError):
            raise cause from None
        if isinstance(cause, TimeoutError | RayError):
            raise fault(f"{what}: {_why(cause, timeout_s)}") from error
        raise


def _why(error: BaseException, timeout_s: float) -> str:
    from ray.exceptions import RayActorError

    if isinstance(error, TimeoutError):
        return f"no answer in {timeout_s:.0f} s"
    first, *rest = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if not isinstance(error, RayActorError):
        return first
    # Of an actor that its constructor ended, the last line says with what.
    raised = f": {rest[-1].strip()}" if rest and "creation task" in first else ""
    return f"the actor is gone ({first}{raised})"
