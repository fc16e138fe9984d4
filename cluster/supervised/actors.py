"""The actors of supervised fine-tuning: browsers and critics with or without policy engines, and learner ranks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.benchmarks.services import launch_engines
from cluster.distributed.clients import CriticClient, LearnerClient, PolicyClient, RendererClient
from cluster.distributed.launch import CALLS, ActorLauncher, critics_at_once, fetch, put
from cluster.distributed.worker import EpisodeWorker
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.supervised.judged_pages import WrittenAnswer
from reward.score import score
from rollout.ports import EpisodeServices


@dataclass(frozen=True, kw_only=True)
class Judging:
    """An episode worker in this process over pools of browsers and critics, and the names that these actors give."""

    worker: EpisodeWorker
    renderer: str
    critic: str


@asynccontextmanager
async def judging_actors(settings: RunSettings, store: Store, model: Path | None = None) -> AsyncIterator[Judging]:
    """Launches browsers and critics on the Ray cluster, and policy engines of a model directory if one is given.

    Stops them on exit. Raises CapacityError and MachineError when actors cannot start.
    """
    from actors.browser.renderer import ChromiumRenderer

    launcher = ActorLauncher(settings)
    cluster = settings.cluster
    pools = []
    try:
        screen = {"settings": settings.renderer, "put": put, "cache": resolve_path(settings.cache) / "renders"}
        bundle = launcher.bundle("browser", cluster.browser_cpus)
        num = settings.browser.count
        browsers = await launcher.launch("browser", ChromiumRenderer, [screen] * num, bundle, restarts=-1)
        judges = await launcher.launch_judges(store.path)
        critics = await launcher.launch_critics(launcher.bundle("", cluster.small_cpus), store.costs)
        engines, followers = await launch_engines(launcher, settings, model)
        await asyncio.gather(
            launcher.start("browser", browsers, "start"),
            launcher.start_in_order(("judge", judges, "start"), ("critic", critics, "ping")),
            launcher.start("policy", engines, "start"),
            launcher.start("policy-node", followers, "start"),
        )
        timeout_s = cluster.call_timeout_s
        renderer = RendererClient(browsers, timeout_s=timeout_s)
        at_once = critics_at_once(settings.critic)
        critic = CriticClient(critics, timeout_s=timeout_s, limit=at_once, lost=renderer.forget)
        policy = PolicyClient(engines, timeout_s=timeout_s, limit=CALLS)
        pools = [renderer.pool, critic.pool, policy.pool]
        services = EpisodeServices(
            policy=policy if engines else WrittenAnswer(""),
            renderer=renderer,
            critic=critic,
            score=partial(score, settings=settings.score),
        )
        yield Judging(
            worker=EpisodeWorker(services, settings.episode, store, fetch),
            renderer=str(await renderer.pool.ask("ping")),
            critic=str(await critic.pool.ask("ping")),
        )
    finally:
        # A call to an actor after Ray is shut down would silently join a cluster again.
        for pool in pools:
            pool.close()
        await launcher.close()


@asynccontextmanager
async def learner_ranks(settings: RunSettings, model: Path, *, packed: bool) -> AsyncIterator[LearnerClient]:
    """Launches the learner ranks with `settings.learner`, and stops them on exit.

    Raises CapacityError and MachineError when they cannot start.
    """
    launcher = ActorLauncher(settings, packed=packed)
    try:
        ranks = await launcher.launch_ranks(model)
        await launcher.start("learner-rank", ranks, "ping")
        # The client syncs no engine here, so it needs no canary.
        yield LearnerClient(
            ranks,
            [],
            canary=(),
            max_gap=settings.cluster.max_logprob_gap,
            timeout_s=settings.cluster.call_timeout_s,
        )
    finally:
        await launcher.close()
