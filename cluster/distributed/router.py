"""Request router: one actor that grants permits for browsers, engines and critics to all episode workers.

The workers hold the authoritative state: the permits they hold and wait for. The router's copy is rebuilt from them
when it restarts. It polls every worker with one call at a time (`RouterClient.exchange`), which delivers permits and
returns new requests and releases in batches. A worker that does not answer counts as holding nothing until it reports
again.
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
"""Seconds after which a worker answers a poll, with or without messages."""
PAUSE_S = 0.25
"""Seconds before a worker that did not answer is polled again."""
REMEMBERED = 65536
"""Maximum number of shared answers with a known owner; the oldest is evicted first."""
Message = tuple[Any, ...]
"""Worker to router: ("want", number, pool, near, shared), ("cancel", number), ("release", pool, place, failed) and
("forget", shared). To an unknown session: ("join",), ("hold", pool, place, calls) and all pending wants.
"""
Grant = tuple[int, str, int, int, str]
"""Router to worker: number of the want, pool, actor index (or -1), worker to ask instead (or -1), reason of a refusal.
"""


class WorkerSession:
    """What one worker holds and waits for, from the first poll it answers until the first it does not."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.id = secrets.token_hex(8)
        self.open = True
        self.held: Counter[tuple[str, int]] = Counter()
        self.waiting: dict[int, asyncio.Task[None]] = {}
        self.grants: list[Grant] = []
        self.given = asyncio.Event()


class Router:
    """Grants permits to episode workers. `find` returns any actor by its name.

    `pools` maps each pool to its number of actors, named `pool-0`, `pool-1`, …, and the call limit per actor.
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
        """Owner of each shared answer, by its name."""
        self.unknown = set(range(workers))
        """Workers not yet polled, which may hold permits granted by an earlier router."""
        self.complete = asyncio.Event()
        self.tasks = [asyncio.create_task(self._serve(worker), name=f"worker-{worker}") for worker in range(workers)]

    async def ping(self) -> str:
        """Health check."""
        return "router"

    def news(self) -> tuple[str, ...]:
        """Empty. Raises the exception that ended the polling of a worker, if any."""
        for task in self.tasks:
            if task.done():
                task.result()
        return ()

    async def _ping(self, pool: str, place: int) -> None:
        name = f"{pool}-{place}"
        await answer(self.find(name).ping.remote(), f"{name}.ping", MachineError, PING_TIMEOUT_S)

    async def _serve(self, worker: int) -> None:
        """Polls one worker in an endless loop."""
        while True:
            session = WorkerSession(worker)
            handle = self.find(f"worker-{worker}")
            # Neither TaskGroup nor gather: if a task fails while they are cancelled, they forget the cancellation.
            work = [asyncio.create_task(step(session, handle)) for step in (self._poll, self._deliver)]
            try:
                ended, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            except MachineError as fault:
                logger.warning("worker-%d holds no permits: %s", worker, fault)
            finally:
                for task in work:
                    task.cancel()
                session.open = False
                self._clear(session)
            self._mark_known(worker)
            await asyncio.sleep(PAUSE_S)

    async def _poll(self, session: WorkerSession, worker: Any) -> None:
        what = f"worker-{session.worker}.exchange"
        while True:
            grants = session.grants
            session.grants = []
            call = worker.exchange.remote(session.id, grants)
            messages = await answer(call, what, MachineError, PING_TIMEOUT_S)
            for message in messages:
                self._handle(session, message)
            self._mark_known(session.worker)

    async def _deliver(self, session: WorkerSession, worker: Any) -> None:
        """Delivers permits that become free while a poll waits for messages."""
        what = f"worker-{session.worker}.grant"
        while True:
            await session.given.wait()
            session.given.clear()
            grants = session.grants
            session.grants = []
            if grants:
                await answer(worker.grant.remote(session.id, grants), what, MachineError, PING_TIMEOUT_S)

    def _mark_known(self, worker: int) -> None:
        """Marks a worker's permits as known. Nothing is granted until those of all workers are."""
        self.unknown.discard(worker)
        if not self.unknown:
            self.complete.set()

    def _handle(self, session: WorkerSession, message: Message) -> None:
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
        elif kind == "join":  # The worker restarted: it has no record of the session's grants.
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
            self._send(session, (number, pool, -1, owner.worker, ""))
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
            self._send(session, (number, pool, -1, -1, str(fault)))
        else:
            self._grant(session, number, pool, permit.place)
        del session.waiting[number]

    def _owner(self, session: WorkerSession, shared: str) -> WorkerSession:
        """The worker with an open session that first requested a shared answer."""
        owner = self.owners.get(shared)
        if owner is None or not owner.open:
            owner = self.owners[shared] = session
            if len(self.owners) > REMEMBERED:
                self.owners.popitem(last=False)
        return owner

    def _grant(self, session: WorkerSession, number: int, pool: str, place: int) -> None:
        session.held[pool, place] += 1
        self._send(session, (number, pool, place, -1, ""))

    def _send(self, session: WorkerSession, grant: Grant) -> None:
        session.grants.append(grant)
        session.given.set()

    def _clear(self, session: WorkerSession) -> None:
        """Releases the worker's permits and cancels its pending wants."""
        waiting = session.waiting
        session.waiting = {}
        held = session.held
        session.held = Counter()
        session.grants = []
        for task in waiting.values():
            task.cancel()
        for pool, place in held.elements():
            self.permits[pool].release(place)


class RouterClient:
    """The worker's side of the router: the permits it holds and the requests that are pending."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.session, self.polled_at = "", 0.0
        self.numbers = itertools.count()
        self.wanted: dict[int, tuple[Message, asyncio.Future[Permit]]] = {}
        self.held: Counter[tuple[str, int]] = Counter()
        self.messages: list[Message] = []
        self.news = asyncio.Event()

    async def exchange(self, session: str, grants: list[Grant]) -> list[Message]:
        """Answers the router's poll: takes permits, returns the messages since the last poll once there are any, or
        after HEARTBEAT_S. To an unknown session it returns at once everything it holds and wants.
        """
        self.polled_at = asyncio.get_running_loop().time()
        if session != self.session:
            self.news.set()  # Ends a poll of the previous session.
            self.session = session
            self.news = asyncio.Event()
            self.messages = []
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
        messages = self.messages
        self.messages = []
        return messages

    async def grant(self, session: str, grants: list[Grant]) -> None:
        """Takes granted permits; returns those whose request was cancelled."""
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
        """Requests a permit. Returns the number of the request and the future permit."""
        number = next(self.numbers)
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self.wanted[number] = ("want", number, pool, near, shared), turn
        self.tell(*self.wanted[number][0])
        return number, turn

    def cancel(self, number: int) -> None:
        """Cancels a request."""
        if self.wanted.pop(number, None):
            self.tell("cancel", number)

    def release(self, pool: str, place: int, *, failed: bool = False) -> None:
        """Returns a permit; `failed` reports that the actor failed."""
        if place >= 0:
            self.held[pool, place] -= 1
            self.tell("release", pool, place, failed)

    def tell(self, *message: Any) -> None:
        """Queues a message for the router's next poll."""
        self.messages.append(message)
        self.news.set()


class RoutedPermits:
    """The permits of one pool, granted by the router."""

    def __init__(self, client: RouterClient, pool: str) -> None:
        self.client, self.pool = client, pool

    async def acquire(self, near: Hashable = None, shared: str = "") -> Permit:
        """See `cluster.distributed.permits.PermitSource`. Also raises MachineError when no router polls for as long."""
        client = self.client
        loop = asyncio.get_running_loop()
        number, turn = client.want(self.pool, near, shared)
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=client.timeout_s)
                if not turn.done() and loop.time() - client.polled_at >= client.timeout_s:
                    raise MachineError(f"the router has not polled this worker for {client.timeout_s:.0f} s")
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
        """No-op: the router pings failed actors."""
