"""All actors of a run: launched and started together, monitored, and stopped."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.distributed.clients import LearnerClient, RolloutClient
from cluster.distributed.health import monitor_actors
from cluster.distributed.launch import CALLS, ActorLauncher, put
from cluster.distributed.pool import Pool
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from cluster.storage.store import Store
from rollout.errors import BrowserFault, CriticFault, MachineError


@dataclass(kw_only=True)
class RunActors:
    """The actors of a run and the clients that call them."""

    workers: RolloutClient
    learner: LearnerClient
    launcher: ActorLauncher
    helpers: list[Pool]
    """Browsers, judges, critics and the router: called by episode workers, only monitored from here."""

    async def monitor(self, note: Callable[[str], None], report: Callable[[str, int, int], None]) -> None:
        """Monitors all actors until cancelled; see `cluster.distributed.health`.

        Raises MachineError when an irreplaceable actor is lost.
        """
        learner = self.learner
        engines = [learner.engines, learner.followers] if learner.followers.handles else [learner.engines]
        await monitor_actors([learner.ranks, *engines], [self.workers.pool, *self.helpers], note, report)

    async def close(self) -> None:
        """Stops all actors and the recovery of failed ones."""
        # A call to an actor after Ray is shut down would silently join a cluster again.
        self.workers.pool.close()
        await self.launcher.close()


async def launch_actors(settings: RunSettings, model: Path, store: Store, *, packed: bool = True) -> RunActors:
    """Launches and starts all actors of a run; `packed` is the result of the model proof.

    Raises CapacityError when a pool cannot be placed, MachineError when an actor cannot start.
    """
    launcher = ActorLauncher(settings, packed=packed)
    try:
        return await _launch_actors(launcher, settings, model, store)
    except BaseException:
        await launcher.close()
        raise


async def _launch_actors(launcher: ActorLauncher, settings: RunSettings, model: Path, store: Store) -> RunActors:
    from actors.browser.renderer import ChromiumRenderer

    cluster = settings.cluster
    browser_bundle = launcher.bundle("browser", cluster.browser_cpus)
    screen = {"settings": settings.renderer, "put": put, "cache": resolve_path(settings.cache) / "renders"}
    browsers = await launcher.launch(
        "browser", ChromiumRenderer, [screen] * settings.browser.count, browser_bundle, restarts=-1
    )
    small = launcher.bundle("", cluster.small_cpus)
    judges = await launcher.launch_judges(store.path)
    critics = await launcher.launch_critics(small, store.costs)
    learner = await launcher.launch_learner(model)
    workers, routers = await launcher.launch_workers(small, store.path)
    await asyncio.gather(
        launcher.start("browser", browsers, "start"),
        launcher.start_learner(learner),
        launcher.start_in_order(("judge", judges, "start"), ("critic", critics, "ping")),
        launcher.start("worker", workers, "ping"),
        launcher.start("router", routers, "ping"),
    )
    timeout_s = cluster.call_timeout_s
    return RunActors(
        workers=RolloutClient(workers, timeout_s=timeout_s, limit=CALLS),
        learner=learner,
        launcher=launcher,
        helpers=[
            Pool("browser", browsers, fault=BrowserFault, timeout_s=timeout_s),
            Pool("judge", judges, fault=CriticFault, timeout_s=timeout_s),
            Pool("critic", critics, fault=CriticFault, timeout_s=timeout_s),
            Pool("router", routers, fault=MachineError, timeout_s=timeout_s),
        ],
    )
