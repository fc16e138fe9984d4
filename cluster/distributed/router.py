"""The router: one actor that gives the permits of browsers, engines and critics to all episode workers.

The workers hold the truth: each knows which permits it holds and which it waits for. The router keeps a copy, and
rebuilds it from them when it is restarted. It polls every worker with one call at a time (`RouterClient.exchange`),
which brings permits and takes back what the worker has asked for and returned since, so that many permits travel in one
call. A worker that does not answer holds nothing, until it answers again and says what it holds.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

from cluster.distributed.permits import Permit, Permits
from cluster.distributed.pool import PING_TIMEOUT_S, answer
from rollout.errors import MachineError

logger = logging.getLogger(__name__)
HEARTBEAT_S = 5.0
"""A worker answers a poll after this long, with news or without."""
PAUSE_S = 0.25
"""Before a worker that did not answer is polled again."""
REMEMBERED = 65536
"""Answers of which the router knows the worker that has them; the oldest is forgotten first."""
Message = tuple[Any, ...]
"""From a worker: ("want", number, pool, near, shared), ("cancel", number), ("release", pool, place, failed) and
("forget", shared). To a session that it does not know: ("join",), ("hold", pool, place, calls) and all its wants."""
Grant = tuple[int, str, int, int, str]
"""To a worker: the number of a want, and its pool; the actor, or the worker to ask instead, or why it is refused."""


class WorkerSession:
    """What one worker holds and waits for, from the first poll that it answers to the first that it does not."""

    def __init__(self, worker: int) -> None:
        self.worker, self.id, self.open = worker, secrets.token_hex(8), True
        self.held: Counter[tuple[str, int]] = Counter()
        self.waiting: dict[int, asyncio.Task[None]] = {}
        self.grants: list[Grant] = []
        self.given = asyncio.Event()


class Router:
    """Gives permits to episode workers. An actor that anybody finds by its name with `find`.

    `pools` has the number of actors of each pool, named `pool-0`, `pool-1`, …, and how many calls each may have.
    """

    def __init__(
        self, find: Callable[[str], Any], workers: int, pools: Mapping[str, tuple[int, int]], timeout_s: float
    ) -> None:
        self.find = find
        self.permits = {
            name: Permits(name, num, limit=limit, timeout_s=timeout_s, ping=partial(self._ping, name))
            for name, (num, limit) in pools.items()
        }
        self.owners: OrderedDict[str, WorkerSession] = OrderedDict()
        """Whose answer is shared, by its name."""
        self.unheard = set(range(workers))
        """Workers that may hold permits which a router before this one gave."""
        self.complete = asyncio.Event()
        self.tasks = [asyncio.create_task(self._serve(worker), name=f"worker-{worker}") for worker in range(workers)]

    async def ping(self) -> str:
        """Says that it is there."""
        return "router"

    def news(self) -> tuple[str, ...]:
        """None. Raises the bug that ended the service of a worker, if there was one."""
        for task in self.tasks:
            if task.done():
                task.result()
        return ()

    async def _ping(self, pool: str, place: int) -> None:
        name = f"{pool}-{place}"
        await answer(self.find(name).ping.remote(), f"{name}.ping", MachineError, PING_TIMEOUT_S)

    async def _serve(self, worker: int) -> None:
        """Polls one worker, without end."""
        while True:
            session = WorkerSession(worker)
            try:
                async with asyncio.TaskGroup() as group:
                    handle = self.find(f"worker-{worker}")
                    group.create_task(self._poll(session, handle))
                    group.create_task(self._deliver(session, handle))
            except* MachineError as faults:
                logger.warning("worker-%d holds no permits: %s", worker, faults.exceptions[0])
            finally:
                session.open = False
                self._clear(session)
            self._hear(worker)
            await asyncio.sleep(PAUSE_S)

    async def _poll(self, session: WorkerSession, worker: Any) -> None:
        what = f"worker-{session.worker}.exchange"
        while True:
            grants, session.grants = session.grants, []
            call = worker.exchange.remote(session.id, grants)
            messages = await answer(call, what, MachineError, PING_TIMEOUT_S)
            for message in messages:
                self._take(session, message)
            self._hear(session.worker)

    async def _deliver(self, session: WorkerSession, worker: Any) -> None:
        """Brings the permits that others have returned while a poll waits for news."""
        what = f"worker-{session.worker}.grant"
        while True:
            await session.given.wait()
            session.given.clear()
            grants, session.grants = session.grants, []
            if grants:
                await answer(worker.grant.remote(session.id, grants), what, MachineError, PING_TIMEOUT_S)

    def _hear(self, worker: int) -> None:
        """What a worker holds is known. Nothing is granted before that is so of all."""
        self.unheard.discard(worker)
        if not self.unheard:
            self.complete.set()

    def _take(self, session: WorkerSession, message: Message) -> None:
        kind, *rest = message
        if kind == "want":
            self._want(session, *rest)
        elif kind == "cancel":
            if waiting := session.waiting.pop(rest[0], None):
                waiting.cancel()
        elif kind == "release":
            pool, place, failed = rest
            session.held[pool, place] -= 1
            self.permits[pool].release(place, failed=failed)
        elif kind == "join":  # This life of the worker knows nothing of what the session has given.
            self._clear(session)
        elif kind == "hold":
            pool, place, calls = rest
            session.held[pool, place] = calls
            for _ in range(calls):
                self.permits[pool].hold(place)
        elif kind == "forget":
            self.owners.pop(rest[0], None)

    def _want(self, session: WorkerSession, number: int, pool: str, near: Hashable, shared: str) -> None:
        if shared and (owner := self._owner(session, shared)) is not session:
            self._give(session, (number, pool, -1, owner.worker, ""))
        elif self.complete.is_set() and (place := self.permits[pool].take(near)) is not None:
            self._grant(session, number, pool, place)
        else:
            task = asyncio.create_task(self._wait(session, number, pool, near))
            session.waiting[number] = task

    async def _wait(self, session: WorkerSession, number: int, pool: str, near: Hashable) -> None:
        await self.complete.wait()
        try:
            permit = await self.permits[pool].acquire(near)
        except MachineError as fault:
            self._give(session, (number, pool, -1, -1, str(fault)))
        else:
            self._grant(session, number, pool, permit.place)
        del session.waiting[number]

    def _owner(self, session: WorkerSession, shared: str) -> WorkerSession:
        """The worker that asked for something first."""
        owner = self.owners.get(shared)
        if owner is None or not owner.open:
            owner = self.owners[shared] = session
            if len(self.owners) > REMEMBERED:
                self.owners.popitem(last=False)
        return owner

    def _grant(self, session: WorkerSession, number: int, pool: str, place: int) -> None:
        session.held[pool, place] += 1
        self._give(session, (number, pool, place, -1, ""))

    def _give(self, session: WorkerSession, grant: Grant) -> None:
        session.grants.append(grant)
        session.given.set()

    def _clear(self, session: WorkerSession) -> None:
        """What the worker held is free, and it waits for nothing."""
        waiting, session.waiting = session.waiting, {}
        held, session.held = session.held, Counter()
        session.grants = []
        for task in waiting.values():
            task.cancel()
        for pool, place in held.elements():
            self.permits[pool].release(place)


class RouterClient:
    """A worker's side of the router: which permits it holds, and which it waits for."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.session, self.polled_at = "", 0.0
        self.numbers = itertools.count()
        self.wanted: dict[int, tuple[Message, asyncio.Future[Permit]]] = {}
        self.held: Counter[tuple[str, int]] = Counter()
        self.messages: list[Message] = []
        self.news = asyncio.Event()

    async def exchange(self, session: str, grants: list[Grant]) -> list[Message]:
        """The router's poll: takes permits, and answers with the messages since the last poll once there are some. To a
        session that it does not know it says at once all that it holds and wants."""
        self.polled_at = asyncio.get_running_loop().time()
        if session != self.session:
            self.news.set()  # Ends a poll of the session before.
            self.session, self.news, self.messages = session, asyncio.Event(), []
            holds = (("hold", *key, calls) for key, calls in self.held.items() if calls)
            return [("join",), *holds, *(want for want, _ in self.wanted.values())]
        await self.grant(session, grants)
        news = self.news
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await news.wait()
        if session != self.session:
            return []
        news.clear()
        messages, self.messages = self.messages, []
        return messages

    async def grant(self, session: str, grants: list[Grant]) -> None:
        """Takes permits; one that nobody waits for any more goes back."""
        for number, pool, place, worker, refused in grants if session == self.session else ():
            _, turn = self.wanted.pop(number, (None, None))
            if place >= 0:
                self.held[pool, place] += 1
            if turn is None:
                self.release(pool, place)
            elif refused:
                turn.set_exception(MachineError(refused))
            else:
                turn.set_result(Permit(place, worker))

    def want(self, pool: str, near: Hashable, shared: str) -> tuple[int, asyncio.Future[Permit]]:
        """Asks for a permit. Returns the number of what is wanted, and the permit to come."""
        number = next(self.numbers)
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self.wanted[number] = ("want", number, pool, near, shared), turn
        self.tell(*self.wanted[number][0])
        return number, turn

    def cancel(self, number: int) -> None:
        """Wants it no more."""
        if self.wanted.pop(number, None):
            self.tell("cancel", number)

    def release(self, pool: str, place: int, *, failed: bool = False) -> None:
        """Returns a permit."""
        if place >= 0:
            self.held[pool, place] -= 1
            self.tell("release", pool, place, failed)

    def tell(self, *message: Any) -> None:
        """A message for the router's next poll."""
        self.messages.append(message)
        self.news.set()


class RoutedPermits:
    """The permits of one pool, from the router."""

    def __init__(self, client: RouterClient, pool: str) -> None:
        self.client, self.pool = client, pool

    async def acquire(self, near: Hashable = None, shared: str = "") -> Permit:
        """See `cluster.distributed.permits.PermitSource`. Raises MachineError too when no router polls for as long."""
        client, loop = self.client, asyncio.get_running_loop()
        number, turn = client.want(self.pool, near, shared)
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=client.timeout_s)
                if not turn.done() and loop.time() - client.polled_at >= client.timeout_s:
                    raise MachineError(f"the router did not ask for {client.timeout_s:.0f} s what is wanted")
            return turn.result()
        except BaseException:
            client.cancel(number)
            if turn.done() and turn.exception() is None:
                client.release(self.pool, turn.result().place)
            raise

    def release(self, place: int, *, failed: bool = False) -> None:
        """See `cluster.distributed.permits.PermitSource`."""
        self.client.release(self.pool, place, failed=failed)

    def forget(self, shared: str) -> None:
        """See `cluster.distributed.permits.PermitSource`."""
        self.client.tell("forget", shared)

    def close(self) -> None:
        """Nothing to do: the router pings the actors that failed."""
