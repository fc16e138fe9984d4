"""The actors of a benchmark: browsers, runners of specifications, and policy engines."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.node.records import SpecReport, SpecRun
from cluster.benchmarks.benchmark import Runner, Services
from cluster.distributed.bundle import Bundle
from cluster.distributed.clients import PolicyClient, RendererClient
from cluster.distributed.launch import CALLS, ActorLauncher, fetch, put
from cluster.distributed.pool import Pool
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from rollout.errors import BrowserFault
from rollout.ports import Policy


class SpecClient:
    """`SpecRunner` over a pool of actors, one run at a time on each."""

    def __init__(self, handles: Sequence[Any], timeout_s: float) -> None:
        self.pool = Pool("specs", handles, fault=BrowserFault, timeout_s=timeout_s, limit=1)

    async def run(self, spec: SpecRun) -> SpecReport:
        """See `SpecRunner`."""
        report: SpecReport = await self.pool.ask("run", spec)
        return report


@asynccontextmanager
async def benchmark_actors(
    settings: RunSettings, *, runner: Runner | None, model: Path | None
) -> AsyncIterator[tuple[Services, Policy | None]]:
    """Launches the actors that a benchmark needs on the Ray cluster, and stops them on exit.

    `runner` asks for actors that run specifications, `model` for policy engines of a model directory. Raises
    CapacityError and MachineError when actors cannot start.
    """
    from actors.browser.renderer import ChromiumRenderer

    launcher, cluster = ActorLauncher(settings), settings.cluster
    pools = list[Pool]()
    try:
        bundle = launcher.bundle("browser", cluster.browser_cpus)
        shown = {"settings": settings.renderer, "put": put, "cache": resolve_path(settings.cache) / "renders"}
        num = settings.browser.count
        browsers = await launcher.launch("browser", ChromiumRenderer, [shown] * num, bundle, restarts=-1)
        runners = await _launch_runners(launcher, settings, bundle, runner) if runner else []
        engines, followers = await launch_engines(launcher, settings, model)
        await asyncio.gather(
            launcher.start("browser", browsers, "start"),
            launcher.start("specs", runners, "start"),
            launcher.start("policy", engines, "start"),
            launcher.start("policy-node", followers, "start"),
        )
        timeout_s = cluster.call_timeout_s
        renderer, specs = RendererClient(browsers, timeout_s=timeout_s), SpecClient(runners, timeout_s)
        policy = PolicyClient(engines, timeout_s=timeout_s, limit=CALLS) if engines else None
        pools = [renderer.pool, specs.pool, *([policy.pool] if policy else [])]
        browser = str(await renderer.pool.ask("ping"))
        yield Services(renderer=renderer, specs=specs, browser=browser, fetch=fetch), policy
    finally:
        # A call to an actor after Ray is shut down would silently join a cluster again.
        for pool in pools:
            pool.close()
        await launcher.close()


async def _launch_runners(launcher: ActorLauncher, settings: RunSettings, bundle: Bundle, runner: Runner) -> list[Any]:
    from actors.jest.runner import JestRunner
    from actors.playwright.runner import PlaywrightRunner

    kind: type = {"playwright": PlaywrightRunner, "jest": JestRunner}[runner]
    arguments = {"settings": settings.renderer, "cache": resolve_path(settings.cache)}
    return await launcher.launch("specs", kind, [arguments] * settings.browser.count, bundle, restarts=-1)


async def launch_engines(
    launcher: ActorLauncher, settings: RunSettings, model: Path | None
) -> tuple[list[Any], list[Any]]:
    """Launches policy engines of a model directory and their followers, which are not started yet; none without it."""
    return ([], []) if model is None else await launcher.launch_engines(model, settings.seed)
