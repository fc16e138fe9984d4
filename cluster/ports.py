"""The ports over pools of Ray actors: who plays, renders, judges and learns, wherever they run."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.pool import Pool
from cluster.worker import Edited
from rollout.errors import (
    BrowserFault,
    CriticFault,
    EngineFault,
    LearnerFault,
    MachineError,
    PictureLost,
    SyncError,
)
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
    Viewport,
)

logger = logging.getLogger(__name__)
SHARED = 2
"""Messages with which all prompts of one task begin: the system's and the brief."""
GROUP_TRIES = 3
"""Workers that may be lost over one group before its episodes count as dropped."""
Content = tuple[str, tuple[Probe, ...], tuple[Viewport, ...]]
"""What a render depends on: the page's hash, its probes and screens."""


class PolicyPool:
    """The Policy port over policy engines."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int) -> None:
        self.pool = Pool("policy", handles, fault=EngineFault, timeout_s=timeout_s, limit=limit)

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        # All that is asked about a task begins alike; an engine that saw it has those keys and values.
        near = hash(request.messages[:SHARED])
        answer: tuple[Completion, ...] = await self.pool.ask("complete", request, near=near)
        return answer


class RendererPool:
    """The Renderer port over browsers: one page at a time each, each content rendered once."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, remember: int = 4096) -> None:
        self.pool = Pool("browser", handles, fault=BrowserFault, timeout_s=timeout_s, limit=1)
        self.renders: dict[Content, asyncio.Task[Render]] = {}
        self.remember = remember

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`. Those who ask for the same content at once share one render."""
        key = (page.sha256, probes, viewports)
        task = self.renders.get(key)
        if task is None:
            task = self.renders[key] = asyncio.create_task(self._render(page, probes, viewports))
            task.add_done_callback(lambda done: self._trim(key, done))
        return await asyncio.shield(task)

    async def _render(self, page: Page, probes: tuple[Probe, ...], viewports: tuple[Viewport, ...]) -> Render:
        answer: Render = await self.pool.ask("render", page, probes, viewports)
        return answer

    def forget(self, render: Render) -> None:
        """Renders this page anew when it is asked for again: its pictures are lost."""
        for key in [key for key in self.renders if key[0] == render.page_sha256]:
            del self.renders[key]

    def _trim(self, key: Content, done: asyncio.Task[Render]) -> None:
        """Faults are not remembered, and what is remembered is bounded: the oldest goes first."""
        if done.cancelled() or done.exception() is not None:
            self.renders.pop(key, None)
        while len(self.renders) > self.remember:
            del self.renders[next(iter(self.renders))]


class CriticPool:
    """The Critic port over critics. `lost` hears of renders whose pictures are gone with the browser that took them."""

    def __init__(
        self, handles: Sequence[Any], *, timeout_s: float, limit: int = 2, lost: Callable[[Render], None]
    ) -> None:
        self.pool = Pool("critic", handles, fault=CriticFault, timeout_s=timeout_s, limit=limit)
        self.lost = lost

    async def judge(self, task: Task, page: Page, render: Render, reference: Render | None) -> Critique:
        """See `rollout.ports.Critic`."""
        try:
            answer: Critique = await self.pool.ask("judge", task, page, render, reference)
        except PictureLost:
            for seen in (render, reference):
                if seen is not None:
                    self.lost(seen)
            raise
        return answer


class PlayerPool:
    """Episode workers behind one door."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int) -> None:
        self.pool = Pool("worker", handles, fault=MachineError, timeout_s=timeout_s, limit=limit)

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """See `cluster.worker.EpisodeWorker`; what a worker was playing when it died is played again by another."""
        for _ in range(GROUP_TRIES):
            try:
                group: Group = await self.pool.ask("play_group", task, num=num, seed=seed, rounds=rounds, keep=keep)
            except MachineError as fault:
                logger.warning("a worker was lost over a group of task %s: %r", task.id, fault)
                continue
            return group
        return Group(task=task, trajectories=(), dropped=num)

    async def edit(self, task: Task, *, rounds: int, seed: int) -> Edited:
        """See `cluster.worker.EpisodeWorker`."""
        edited: Edited = await self.pool.ask("edit", task, rounds=rounds, seed=seed)
        return edited

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """See `cluster.worker.EpisodeWorker`."""
        said: tuple[str, ...] = await self.pool.ask("review", task, page, seed=seed)
        return said


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
