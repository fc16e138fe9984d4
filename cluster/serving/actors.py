"""The actors behind the server: policy engines, browsers, critics and their judges, on Ray."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.distributed.clients import CriticClient, PolicyClient, RendererClient
from cluster.distributed.launch import CALLS, ActorLauncher, critics_at_once, find_actor
from cluster.distributed.pool import Pool
from cluster.paths import resolve_path
from cluster.serving.service import Service
from cluster.settings import RunSettings
from cluster.training.curriculum import libraries_of
from rollout.errors import BrowserFault, EngineFault, MachineError

PING_S = 10.0
"""Seconds between two health checks of an actor."""
RENDERS = 64
"""Renders that are kept in memory, with their screenshots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedActors:
    """Launched actors."""

    namespace: str
    """Ray namespace in which their names are unique."""
    pools: tuple[Pool, ...]
    """The pools whose health checks replace what died."""


@asynccontextmanager
async def serving_actors(settings: RunSettings, model: Path, folder: Path) -> AsyncIterator[ServedActors]:
    """Launches the actors for a model directory, and stops them on exit; logs and costs are written to `folder`.

    Raises CapacityError and MachineError when actors cannot start.
    """
    from actors.browser.renderer import ChromiumRenderer
    from actors.policy.fixed_policy import FixedPolicy

    launcher, cluster = ActorLauncher(settings), settings.cluster
    pools: tuple[Pool, ...] = ()
    try:
        small = launcher.bundle("", cluster.small_cpus)
        # Screenshots travel with their render: the answer needs them, and none is lost with its browser.
        screen = {"settings": settings.renderer, "cache": resolve_path(settings.cache) / "renders"}
        bundle = launcher.bundle("browser", cluster.browser_cpus)
        screens = [screen] * settings.browser.count
        browsers = await launcher.launch("browser", ChromiumRenderer, screens, bundle, restarts=-1)
        judges = await launcher.launch_judges(folder)
        critics = await launcher.launch_critics(small, folder / "costs")
        engine = {"model_dir": str(model), "settings": settings.engine, "seed": settings.seed}
        arguments = [engine | {"rank": rank} for rank in range(settings.policy.engines)]
        bundle = launcher.bundle("policy", cluster.policy_cpus, cluster.policy_gpus)
        engines = await launcher.launch("policy", FixedPolicy, arguments, bundle, restarts=-1)
        await asyncio.gather(
            launcher.start("browser", browsers, "start"),
            launcher.start("policy", engines, "start"),
            launcher.start_in_order(("judge", judges, "start"), ("critic", critics, "ping")),
        )
        pools = (
            Pool("policy", engines, fault=EngineFault, timeout_s=cluster.start_timeout_s),
            Pool("browser", browsers, fault=BrowserFault, timeout_s=cluster.start_timeout_s),
        )
        yield ServedActors(namespace=launcher.namespace, pools=pools)
    finally:
        for pool in pools:
            pool.close()
        await launcher.close()


async def keep_alive(pools: Sequence[Pool], note: Callable[[str], None]) -> None:
    """Checks the health of all actors until it is cancelled, so that a dead engine or browser is replaced also when no
    request comes; notes each loss and recovery."""
    await asyncio.gather(*(_watch(pool, place, note) for pool in pools for place in range(len(pool.handles))))


async def _watch(pool: Pool, place: int, note: Callable[[str], None]) -> None:
    lost = False
    while True:
        try:
            await pool.ask_one(place, "ping")
        except MachineError as fault:
            if not lost:
                note(f"lost {pool.name}-{place}: {fault}")
            lost = True
        else:
            if lost:
                note(f"{pool.name}-{place} answers again")
            lost = False
        await asyncio.sleep(PING_S)


def service_of(settings: RunSettings, namespace: str, name: str) -> Service:
    """The operations on launched actors, which are found by name; `name` is the model's."""
    timeout_s = settings.cluster.call_timeout_s

    def handles(pool: str, num: int) -> list[object]:
        return [find_actor(namespace, f"{pool}-{place}") for place in range(num)]

    policy = PolicyClient(handles("policy", settings.policy.engines), timeout_s=timeout_s, limit=CALLS)
    browsers = handles("browser", settings.browser.count)
    renderer = RendererClient(browsers, timeout_s=timeout_s, remember=RENDERS)
    critic = CriticClient(
        handles("critic", settings.critic.count),
        timeout_s=timeout_s,
        limit=critics_at_once(settings.critic),
        lost=renderer.forget,
    )
    pools = (policy.pool, renderer.pool, critic.pool)
    return Service(
        name=name,
        policy=policy,
        renderer=renderer,
        critic=critic,
        episode=settings.episode,
        scoring=settings.score,
        needs_reference=any(one.kind == "visual" for one in settings.critic.members.values()),
        libraries=libraries_of(settings.browser),
        health=lambda: {pool.name: pool.num_healthy for pool in pools},
    )
