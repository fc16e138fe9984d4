"""A pool of Ray actors: least-loaded routing, timeouts, exclusion of failed actors, and Ray errors mapped to ours.

A pool gets a permit for a handle (`cluster.distributed.permits`), calls a method of it and waits for the result,
whatever the actor does. A handle that fails leaves the pool until it answers a ping: idle and failing fast, it would
attract every call.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cluster.distributed.permits import Permit, Permits, PermitSource
from rollout.errors import MachineError, RelookError, StorageFault

PING_TIMEOUT_S = 30.0


class Pool:
    """Handles of one kind of actor. At most `limit` calls run on a handle at a time; further calls queue in order.

    With external `permits`, calls from other processes count too, and `limit` is enforced there.
    """

    def __init__(
        self,
        name: str,
        handles: Sequence[Any],
        *,
        fault: type[MachineError],
        timeout_s: float,
        limit: int = 1,
        permits: PermitSource | None = None,
    ) -> None:
        self.name = name
        self.handles = list(handles)
        self.fault = fault
        self.timeout_s = timeout_s
        self.permits = permits or Permits(name, len(self.handles), limit=limit, timeout_s=timeout_s, ping=self._ping)
        self.closed = False

    async def ask(self, method: str, *args: Any, near: Hashable = None, **kwargs: Any) -> Any:
        """Calls a method of the handle chosen by `permit`.

        Raises the pool's fault when the actor dies or times out, when no actor is healthy for the duration of that
        timeout, or when the pool is closed.
        """
        permit = await self.permit(method, near=near)
        return await self.ask_with(permit, method, *args, **kwargs)

    async def stream(self, method: str, *args: Any, near: Hashable = None) -> AsyncIterator[Any]:
        """Yields the items of an asynchronous generator method of the handle chosen by `permit`.

        The method is cancelled if the iterator is closed. Raises what `ask` raises.
        """
        permit = await self.permit(method, near=near)
        with self._used(permit):
            call = getattr(self.handles[permit.place], method).remote(*args)
            async for item in answers(call, f"{self.name}-{permit.place}.{method}", self.fault, self.timeout_s):
                yield item

    async def permit(self, method: str, near: Hashable = None, shared: str = "") -> Permit:
        """Waits for the right to make one call with `ask_with`; see `PermitSource.acquire`."""
        if not self.closed:
            try:
                permit = await self.permits.acquire(near, shared)
            except MachineError as fault:
                raise self.fault(str(fault)) from None
            if not self.closed:
                return permit
            if permit.place >= 0:
                self.permits.release(permit.place)
        raise self.fault(f"the {self.name} pool is closed; cannot call {method}")

    async def ask_with(self, permit: Permit, method: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of the permit's handle, then returns the permit."""
        with self._used(permit):
            return await self.ask_one(permit.place, method, *args, **kwargs)

    @contextmanager
    def _used(self, permit: Permit) -> Iterator[None]:
        """Returns a permit at the end; a MachineError that is not of the storage marks its handle as failed."""
        failed = False
        try:
            yield
        except StorageFault:  # the handle is healthy
            raise
        except MachineError:
            failed = True
            raise
        finally:
            self.permits.release(permit.place, failed=failed)

    @property
    def num_healthy(self) -> int:
        """Actors that get calls, as far as this process knows: with external permits, all of them."""
        lost = len(self.permits.recovering) if isinstance(self.permits, Permits) else 0
        return len(self.handles) - lost

    def close(self) -> None:
        """Closes the pool: no further calls, and no recovery of failed actors."""
        self.closed = True
        self.permits.close()

    async def ask_all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Calls a method of every handle concurrently."""
        places = range(len(self.handles))
        return await asyncio.gather(*(self.ask_one(place, method, *args, **kwargs) for place in places))

    async def ask_one(self, place: int, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        """Calls a method of one handle, with a timeout."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        call = getattr(self.handles[place], method).remote(*args, **kwargs)
        return await answer(call, f"{self.name}-{place}.{method}", self.fault, limit_s)

    async def _ping(self, place: int) -> None:
        await self.ask_one(place, "ping", timeout_s=PING_TIMEOUT_S)


class EngineBroadcast:
    """Blocking calls from one actor to all actors of a pool; `Pool` is the asynchronous counterpart."""

    def __init__(self, name: str, handles: Sequence[Any], *, fault: type[MachineError], timeout_s: float) -> None:
        self.name = name
        self.handles = list(handles)
        self.fault = fault
        self.timeout_s = timeout_s
        self.num = len(self.handles)

    def ask_all(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """Calls a method of every actor concurrently, each with its own arguments, until all are done or one fails.

        Raises the pool's fault, as `Pool` does.
        """
        asyncio.run(self._ask_all(method, arguments))

    async def _ask_all(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        calls = [getattr(handle, method).remote(*its) for handle, its in zip(self.handles, arguments, strict=True)]
        names = [f"{self.name}-{place}.{method}" for place in range(self.num)]
        await asyncio.gather(
            *(answer(call, name, self.fault, self.timeout_s) for call, name in zip(calls, names, strict=True))
        )


async def answer(call: Any, what: str, fault: type[MachineError], timeout_s: float) -> Any:
    """The result of a Ray call. Raises `fault` when it times out or fails within Ray itself."""
    from ray.exceptions import RayError, RayTaskError

    try:
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that arrives together with the result.
        async with asyncio.timeout(timeout_s):
            return await call
    except (TimeoutError, RayError) as error:
        # Our own errors are raised unchanged; a bug keeps its remote traceback.
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, RelookError):
            raise cause from None
        if isinstance(cause, TimeoutError | RayError):
            raise fault(f"{what}: {_why(cause, timeout_s)}") from error
        raise


async def answers(call: Any, what: str, fault: type[MachineError], timeout_s: float) -> AsyncIterator[Any]:
    """Yields the results of a Ray call of a generator, and cancels it unless it has ended. Raises as `answer` does.

    `timeout_s` is the timeout of one result.
    """
    import ray

    ended = False
    try:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    item = await anext(call)
            except StopAsyncIteration:
                ended = True
                return
            except TimeoutError as error:
                raise fault(f"{what}: {_why(error, timeout_s)}") from error
            yield await answer(item, what, fault, timeout_s)
    finally:
        if not ended:
            ray.cancel(call)


def _why(error: BaseException, timeout_s: float) -> str:
    from ray.exceptions import RayActorError

    if isinstance(error, TimeoutError):
        return f"no answer in {timeout_s:.0f} s"
    first, *rest = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if not isinstance(error, RayActorError):
        return first
    # If the constructor failed, the last line contains its exception.
    raised = f": {rest[-1].strip()}" if rest and "creation task" in first else ""
    return f"the actor died ({first}{raised})"
