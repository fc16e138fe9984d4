"""The ports over Ray handles: least-loaded routing, deadlines, and Ray's errors in our own words.

Nothing here knows what an actor does: a pool asks a method of one of its handles and waits for the answer.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.worker import Edited
from rollout.errors import BrowserFault, CriticFault, EngineFault, LearnerFault, MachineError, RelookError, SyncError
from rollout.records import (
    Batch,
    Completion,
    Critique,
    Group,
    Page,
    Probe,
    Render,
    Request,
    Sync,
    Task,
    Update,
)

logger = logging.getLogger(__name__)


class Pool:
    """Handles of one kind of actor. `limit` calls run on one handle at a time, the others wait here in order."""

    def __init__(
        self, name: str, handles: Sequence[Any], *, fault: type[MachineError], timeout_s: float, limit: int
    ) -> None:
        self.name, self.handles, self.fault, self.timeout_s = name, list(handles), fault, timeout_s
        self.loads = [0] * len(self.handles)
        self.room = asyncio.Semaphore(limit * len(self.handles))

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Asks the least-loaded handle. Raises the pool's fault when the actor dies or does not answer in time."""
        async with self.room:
            place = min(range(len(self.handles)), key=self.loads.__getitem__)
            self.loads[place] += 1
            try:
                return await self.ask_one(place, method, *args, **kwargs)
            finally:
                self.loads[place] -= 1

    async def ask_all(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Asks every handle at once."""
        places = range(len(self.handles))
        return await asyncio.gather(*(self.ask_one(place, method, *args, **kwargs) for place in places))

    async def ask_one(self, place: int, method: str, *args: Any, **kwargs: Any) -> Any:
        """Asks one handle."""
        from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

        call = getattr(self.handles[place], method).remote(*args, **kwargs)
        try:
            return await asyncio.wait_for(_answer(call), self.timeout_s)
        except (TimeoutError, RayActorError, ObjectLostError) as error:
            raise self.fault(f"{self.name}-{place}.{method}: {_why(error, self.timeout_s)}") from error
        except RayTaskError as error:
            # What was raised on purpose crosses the wire as what it was; a bug keeps its remote traceback.
            if isinstance(error.cause, RelookError):
                raise error.cause from None
            raise


async def _answer(call: Any) -> Any:
    return await call


def _why(error: BaseException, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {timeout_s:.0f} s"
    return f"the actor is gone ({str(error).splitlines()[0]})"


class PolicyPool:
    """The Policy port over policy engines."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int) -> None:
        self.pool = Pool("policy", handles, fault=EngineFault, timeout_s=timeout_s, limit=limit)

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        answer: tuple[Completion, ...] = await self.pool.ask("complete", request)
        return answer


class RendererPool:
    """The Renderer port over browsers: one page at a time each, each content rendered once."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, remember: int = 4096) -> None:
        self.pool = Pool("browser", handles, fault=BrowserFault, timeout_s=timeout_s, limit=1)
        self.renders: dict[tuple[str, tuple[Probe, ...]], asyncio.Task[Render]] = {}
        self.remember = remember

    async def render(self, page: Page, probes: tuple[Probe, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`. Those who ask for the same content at once share one render."""
        key = (page.sha256, probes)
        task = self.renders.get(key)
        if task is None:
            task = self.renders[key] = asyncio.create_task(self._render(page, probes))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _render(self, page: Page, probes: tuple[Probe, ...]) -> Render:
        answer: Render = await self.pool.ask("render", page, probes)
        return answer

    def _forget(self, key: tuple[str, tuple[Probe, ...]], done: asyncio.Task[Render]) -> None:
        """Faults are not remembered, and what is remembered is bounded: the oldest goes first."""
        if done.cancelled() or done.exception() is not None:
            self.renders.pop(key, None)
        while len(self.renders) > self.remember:
            del self.renders[next(iter(self.renders))]


class CriticPool:
    """The Critic port over critics."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int = 2) -> None:
        self.pool = Pool("critic", handles, fault=CriticFault, timeout_s=timeout_s, limit=limit)

    async def judge(self, task: Task, page: Page, render: Render, reference: Render | None) -> Critique:
        """See `rollout.ports.Critic`."""
        answer: Critique = await self.pool.ask("judge", task, page, render, reference)
        return answer


class PlayerPool:
    """Episode workers behind one door."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int) -> None:
        self.pool = Pool("worker", handles, fault=MachineError, timeout_s=timeout_s, limit=limit)

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """See `cluster.worker.EpisodeWorker`; a worker that dies loses its whole group."""
        try:
            group: Group = await self.pool.ask("play_group", task, num=num, seed=seed, rounds=rounds, keep=keep)
        except MachineError as fault:
            logger.warning("lost a group of task %s: %r", task.id, fault)
            return Group(task=task, trajectories=(), dropped=num)
        return group

    async def edit(self, task: Task, *, rounds: int, seed: int) -> Edited:
        """See `cluster.worker.EpisodeWorker`."""
        edited: Edited = await self.pool.ask("edit", task, rounds=rounds, seed=seed)
        return edited


class LearnerPool:
    """The Learner port over learner ranks and the engines they feed.

    Every rank does every call. Rank 0's answer counts, and its weights go to the engines as an object reference:
    the driver never holds them.
    """

    def __init__(
        self,
        ranks: Sequence[Any],
        engines: Sequence[Any],
        *,
        canary: tuple[int, ...],
        max_gap: float,
        timeout_s: float,
    ) -> None:
        self.ranks = Pool("learner-rank", ranks, fault=LearnerFault, timeout_s=timeout_s, limit=1)
        self.engines = Pool("policy", engines, fault=EngineFault, timeout_s=timeout_s, limit=1)
        self.canary, self.max_gap = canary, max_gap

    async def update(self, batch: Batch) -> Update:
        """See `rollout.ports.Learner`."""
        updates: list[Update] = await self.ranks.ask_all("update", batch)
        return updates[0]

    async def version(self) -> int:
        """Updates the learner has made."""
        return int(await self.ranks.ask_one(0, "get_version"))

    async def sync(self) -> Sync:
        """Puts rank 0's weights into every engine and compares log-probs on the canary sequence."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        version = await self.version()
        blobs = [rank.weights.remote() for rank in self.ranks.handles]
        size = int(await self.ranks.ask_one(0, "weights_size"))
        await self.engines.ask_all("update_weights", blobs[0], version)
        wanted = (await self.ranks.ask_all("logprobs", self.canary))[0]
        gap = 0.0
        for place, got in enumerate(await self.engines.ask_all("canary", self.canary)):
            apart = max(abs(g - w) for g, w in zip(got, wanted, strict=True))
            gap = max(gap, apart)
            if not apart <= self.max_gap:
                raise SyncError(
                    f"policy-{place} does not hold the learner's weights: after sync {version} its log-probs on the "
                    f"canary sequence are {apart:.2e} apart, wanted at most {self.max_gap:.0e}; the run stops here"
                )
        return Sync(version=version, gap=gap, bytes=size, seconds=loop.time() - started)

    async def save(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("save", path)

    async def load(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("load", path)

    async def export(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("export", path)
