"""Clients: the Policy, Renderer, Critic and Learner ports, implemented with pools of Ray actors."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from actors.settings import PolicySettings
from cluster.distributed.permits import PermitSource
from cluster.distributed.pool import EngineBroadcast, Pool, answer
from cluster.distributed.worker import SelfEditResult
from rollout.errors import (
    BrowserFault,
    CriticFault,
    EngineFault,
    LearnerFault,
    MachineError,
    PictureLost,
    StorageFault,
    fault_line,
)
from rollout.ports import RenderedPage
from rollout.records import (
    Batch,
    Comparison,
    Completion,
    Critique,
    Demonstration,
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
from rollout.retry import Retries

logger = logging.getLogger(__name__)
SHARED = 2
"""Number of leading messages that all prompts of one task share: system message and brief."""
GROUP_RETRIES = 2
"""Times a group is played again after its worker fails; then its episodes count as dropped."""
SYNC_RETRIES = 1
"""Times a failed weight transfer is repeated."""
Content = tuple[str, tuple[Probe, ...], tuple[Viewport, ...]]
"""Key of the render cache: the page's SHA-256, its probes and viewports."""


class PolicyClient:
    """Policy port over a pool of policy engines."""

    def __init__(
        self, handles: Sequence[Any], *, timeout_s: float, limit: int, permits: PermitSource | None = None
    ) -> None:
        self.pool = Pool("policy", handles, fault=EngineFault, timeout_s=timeout_s, limit=limit, permits=permits)

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        # Prompts of one task share a prefix: an engine that has processed one has its keys and values cached.
        near = _digest(request.messages[:SHARED])
        completions: tuple[Completion, ...] = await self.pool.ask("complete", request, near=near)
        return completions

    def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yields the text of one completion in pieces, then the completion; see `VLLMPolicy.stream`."""
        return self.pool.stream("stream", request, near=_digest(request.messages[:SHARED]))

    async def complete_all(self, requests: Sequence[Request]) -> int:
        """Generates the completions of several requests concurrently; returns the number of their tokens."""
        written = await asyncio.gather(*map(self.complete, requests))
        return sum(len(one.token_ids) for several in written for one in several)


class RendererClient:
    """Renderer port over a pool of browsers: one page per browser at a time, each content rendered once.

    With `permits` from a router, workers share renders: `find_worker` returns the worker that owns one, by index.
    """

    def __init__(
        self,
        handles: Sequence[Any],
        *,
        timeout_s: float,
        remember: int = 4096,
        permits: PermitSource | None = None,
        find_worker: Callable[[int], Any] | None = None,
    ) -> None:
        self.pool = Pool("browser", handles, fault=BrowserFault, timeout_s=timeout_s, permits=permits)
        self.renders: dict[Content, asyncio.Task[Render]] = {}
        self.remember = remember
        self.find_worker = find_worker

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`. Concurrent requests for the same content share one render."""
        key = (page.sha256, probes, viewports)
        task = self.renders.get(key)
        if task is None:
            task = self.renders[key] = asyncio.create_task(self._render(page, probes, viewports))
            task.add_done_callback(lambda done: self._trim(key, done))
        return await asyncio.shield(task)

    async def _render(self, page: Page, probes: tuple[Probe, ...], viewports: tuple[Viewport, ...]) -> Render:
        name = _digest((page.sha256, probes, viewports)) if self.find_worker else ""
        permit = await self.pool.permit("render", shared=name)
        if self.find_worker and permit.worker >= 0:
            call = self.find_worker(permit.worker).render.remote(page, probes, viewports)
            shared: Render = await answer(call, f"worker-{permit.worker}.render", BrowserFault, self.pool.timeout_s)
            return shared
        render: Render = await self.pool.ask_with(permit, "render", page, probes, viewports)
        return render

    def forget(self, render: Render) -> None:
        """Drops the cached renders of this page, whose screenshots are lost."""
        for key in [key for key in self.renders if key[0] == render.page_sha256]:
            del self.renders[key]
            self.pool.permits.forget(_digest(key))

    def _trim(self, key: Content, done: asyncio.Task[Render]) -> None:
        """Removes failed renders from the cache and evicts the oldest entries above its size limit."""
        if done.cancelled() or done.exception() is not None:
            self.renders.pop(key, None)
        while len(self.renders) > self.remember:
            del self.renders[next(iter(self.renders))]


class CriticClient:
    """Critic port over a pool of critics. Calls `lost` with each render whose screenshots are lost with its browser."""

    def __init__(
        self,
        handles: Sequence[Any],
        *,
        timeout_s: float,
        limit: int = 2,
        lost: Callable[[Render], None],
        permits: PermitSource | None = None,
    ) -> None:
        self.pool = Pool("critic", handles, fault=CriticFault, timeout_s=timeout_s, limit=limit, permits=permits)
        self.lost = lost

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`."""
        critique: Critique = await self._ask("judge", (render, reference), task, page, render, reference, fresh=fresh)
        return critique

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """See `rollout.ports.Critic`."""
        renders = (old[1], new[1], reference)
        comparison: Comparison = await self._ask("compare", renders, task, old, new, reference)
        return comparison

    async def _ask(self, method: str, renders: Sequence[Render | None], *args: Any, **kwargs: Any) -> Any:
        """Calls a critic; on PictureLost, passes each of `renders` to `lost`."""
        try:
            return await self.pool.ask(method, *args, **kwargs)
        except PictureLost:
            for render in filter(None, renders):
                self.lost(render)
            raise


class RolloutClient:
    """Client of the pool of episode workers."""

    def __init__(self, handles: Sequence[Any], *, timeout_s: float, limit: int) -> None:
        self.pool = Pool("worker", handles, fault=MachineError, timeout_s=timeout_s, limit=limit)

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """See `EpisodeWorker.play_group`. If a worker fails, another one plays the group again.

        Raises StorageFault when screenshots cannot be stored; every worker would fail.
        """
        retries = Retries(f"group of task {task.id}", GROUP_RETRIES)
        try:
            group: Group = await retries.call(
                lambda: self.pool.ask("play_group", task, num=num, seed=seed, rounds=rounds, keep=keep)
            )
        except StorageFault:
            raise
        except MachineError as fault:
            logger.warning("dropped a group of task %s: %r", task.id, fault)
            faults = tuple(map(fault_line, (*retries.faults, fault)))
            return Group(task=task, trajectories=(), dropped=num, faults=faults)
        return group

    async def edit(self, task: Task, *, rounds: int, seed: int, keep: bool = False) -> SelfEditResult:
        """See `cluster.distributed.worker.EpisodeWorker`."""
        edited: SelfEditResult = await self.pool.ask("edit", task, rounds=rounds, seed=seed, keep=keep)
        return edited

    async def judge_again(self, task: Task, page: Page) -> Critique:
        """See `cluster.distributed.worker.EpisodeWorker`."""
        critique: Critique = await self.pool.ask("judge_again", task, page)
        return critique

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """See `cluster.distributed.worker.EpisodeWorker`."""
        feedback: tuple[str, ...] = await self.pool.ask("review", task, page, seed=seed)
        return feedback


class LearnerClient:
    """Learner port over the learner ranks and the policy engines.

    Every rank runs every call; rank 0's result is returned. Its weights go to the engines as an object reference, or
    directly without Ray: the driver never holds them.
    """

    def __init__(
        self,
        ranks: Sequence[Any],
        engines: Sequence[Any],
        *,
        followers: Sequence[Any] = (),
        canary: tuple[int, ...],
        max_gap: float,
        timeout_s: float,
        policy: PolicySettings | None = None,
    ) -> None:
        """`followers` are the parts of engines on further nodes (`actors.policy.follower`): only monitored."""
        self.ranks = Pool("learner-rank", ranks, fault=LearnerFault, timeout_s=timeout_s, limit=1)
        self.engines = Pool("policy", engines, fault=EngineFault, timeout_s=timeout_s, limit=1)
        self.followers = Pool("policy-node", followers, fault=EngineFault, timeout_s=timeout_s, limit=1)
        self.broadcast = EngineBroadcast("policy", engines, fault=EngineFault, timeout_s=timeout_s)
        self.canary = canary
        self.max_gap = max_gap
        self.policy = policy or PolicySettings()

    async def update(self, batch: Batch) -> Update:
        """See `rollout.ports.Learner`. With `policy.sleep_level`, the engines sleep until the next sync."""
        if self.policy.sleep_level:
            await self.engines.ask_all("sleep")
        updates: list[Update] = await self.ranks.ask_all("update", batch)
        return updates[0]

    async def losses(self, demonstrations: Sequence[Demonstration]) -> tuple[float, ...]:
        """[N] cross-entropy of each demonstration in nats; see `learner.engine`."""
        losses: list[tuple[float, ...]] = await self.ranks.ask_all("losses", demonstrations)
        return losses[0]

    async def peak_memory(self) -> int:
        """Largest memory of a rank in bytes; see `actors.learner.rank`."""
        peaks: list[int] = await self.ranks.ask_all("peak_memory")
        return max(peaks)

    async def version(self) -> int:
        """Number of updates that the learner has made."""
        return int(await self.ranks.ask_one(0, "get_version"))

    async def sync(self) -> Sync:
        """Sends rank 0's weights to every engine and proves them on the canary sequence.

        Raises SyncError when an engine does not hold them: it must not serve, and the run stops. Before the first sync,
        raises ModelError when engine and learner compute different log-probs from the same files.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        version = await self.version()
        # Computed before the weight swap, so that the engines wait only for their own part of the proof. Under ZeRO-3
        # this forward also materialises the weights, without which the first gather is empty.
        wanted = (await self.ranks.ask_all("logprobs", self.canary))[0]
        if self.policy.sleep_level:
            # The learner's cached blocks would leave the engines too little memory.
            await self.ranks.ask_all("release_memory")
            await self.engines.ask_all("wake")
        if version == 0:
            await self.engines.ask_all("prove_model", self.canary, wanted, self.max_gap)
        # After a fault some engines may hold the new weights and others not, or the process group is broken: repeat the
        # whole transfer.
        retries = Retries("weight sync", SYNC_RETRIES, fault=EngineFault)
        size = await retries.call(lambda: self._transfer(version))
        gaps = await self.engines.ask_all("prove", version, self.canary, wanted, self.max_gap)
        return Sync(version=version, gap=max(gaps), bytes=size, seconds=loop.time() - started)

    async def _transfer(self, version: int) -> int:
        """Transfers all weights to every engine. Returns their size in bytes."""
        policy = self.policy
        if policy.transfer in ("auto", "shared_memory"):
            blobs = [rank.weights.remote() for rank in self.ranks.handles]
            size = int(await self.ranks.ask_one(0, "weights_size"))
            await self.engines.ask_all("update_weights", blobs[0], version)
            return size
        arguments = (version, policy.transfer, self.broadcast, policy.tensor_parallel, policy.call_timeout_s)
        return int((await self.ranks.ask_all("send_weights", *arguments))[0])

    async def save(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("save", path)

    async def load(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("load", path)

    async def export(self, path: Path) -> None:
        """See `rollout.ports.Learner`."""
        await self.ranks.ask_all("export", path)


def _digest(value: object) -> str:
    """Digest of a record that is the same in every process, unlike `hash`."""
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()[:32]
