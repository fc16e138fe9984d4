"""Driver benchmark: CPU time a trajectory with 2,000 in flight, and memory growth over 50,000 trajectories.

The driver is this process: the loop, the stream, its pools, the health monitor of 1,411 actors, the step files, MLflow
and the report, through a real Ray. Worker actors run the episodes on pools of 256 simulated engines, 1,024 browsers and
128 critics, which only sleep, and share a router. All times are a cluster's divided by SPEED, including the health
check interval.
"""

import asyncio
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from cluster.distributed.clients import LearnerClient, RolloutClient
from cluster.distributed.health import check_interval_s, monitor_actors
from cluster.distributed.pool import Pool
from cluster.distributed.router import Grant, Message, Router, RouterClient
from cluster.distributed.worker import EpisodeWorker
from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.training_loop.simulated_actors import (
    CANARY,
    Cluster,
    SleepingEngine,
    SleepingRank,
    Times,
)
from cluster.monitoring.display import Display
from cluster.monitoring.observer import Observer
from cluster.monitoring.tracking.tracker import Tracker
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.loop import one_step, play_group
from cluster.training.run import Run
from cluster.training.state import RunState
from cluster.training.stream import Stream
from rollout.errors import BrowserFault, CriticFault
from rollout.records import Group

TRAJECTORIES = int(os.environ.get("DRIVER_TRAJECTORIES", "50000"))
SPEED = float(os.environ.get("DRIVER_SPEED", "40"))
WORKERS = 2
STAND_INS = 4
"""Number of actors that receive all health checks and weight updates, in place of 1,408 actors."""
SIZES: dict[str, Any] = {
    "steps": 10**6,
    "groups": 128,
    "group_size": 8,
    "in_flight": 2000,
    "max_staleness": 8,
    "refill": 0,
    "episode": {"rounds": 1, "attempts": 2, "speculate": 1, "max_tokens": 8000},
    "policy": {"engines": 256},
    "browser": {"count": 1024},
    "critic": {"count": 128},
    "cluster": {"workers": WORKERS},
}


class SleepingWorker:
    """An episode worker in its own process, together with the whole simulated cluster."""

    def __init__(self, settings: RunSettings, times: Times, path: Path) -> None:
        self.settings, self.times, self.path = settings, times, path
        self.worker: EpisodeWorker | None = None
        self.router = RouterClient(600)

    async def play_group(self, *args: Any, **kwargs: Any) -> Group:
        """See `cluster.distributed.worker.EpisodeWorker`."""
        if self.worker is None:  # Its pools must belong to the current event loop.
            self.worker = Cluster.of(self.settings, self.times).worker(self.settings, self.path, self.router)
        return await self.worker.play_group(*args, **kwargs)

    async def exchange(self, session: str, grants: list[Grant]) -> list[Message]:
        """See `cluster.distributed.router.RouterClient`."""
        return await self.router.exchange(session, grants)

    async def grant(self, session: str, grants: list[Grant]) -> None:
        """See `cluster.distributed.router.RouterClient`."""
        await self.router.grant(session, grants)

    async def ping(self) -> None:
        """Answers a health check."""

    async def cpu(self) -> float:
        """Processor time used by this process, in seconds."""
        return time.process_time()


class DriverObserver(Observer):
    """Observer of a run that also records the driver's resource use at the end of each step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows: list[tuple[float, float, float]] = []
        """Trajectories so far, CPU seconds of this process, MB of its own memory."""

    def step(self, state: RunState, groups: list[Group]) -> None:
        """Records the resource use after a finished step."""
        super().step(state, groups)
        before = self.rows[-1][0] if self.rows else 0.0
        self.rows.append((before + sum(len(g.trajectories) for g in groups), time.process_time(), own_mb()))
        done, cpu_s, mb = self.rows[-1]
        print(f"driver … {done:.0f} trajectories, {cpu_s:.1f} s, {mb:.0f} MB", file=sys.stderr, flush=True)


def bench_driver() -> Figures:
    """CPU milliseconds of driver and workers a trajectory, and growth of the driver's own memory in MB."""
    settings = check_settings(SIZES, "the driver's bench")
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_drive(settings, Times().faster(SPEED), Path(folder)))


def own_mb() -> float:
    """Anonymous memory of this process in MB, without the mapped object store."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


async def _drive(settings: RunSettings, times: Times, folder: Path) -> Figures:
    from cluster.distributed import launch
    from cluster.distributed.connection import connect

    connection = await asyncio.to_thread(connect)
    launcher = launch.ActorLauncher(settings)
    small = launcher.bundle("", settings.cluster.small_cpus)
    try:
        worker = {"settings": settings, "times": times, "path": folder}
        workers = await launcher.launch("worker", SleepingWorker, [worker] * WORKERS, small)
        find, pools = partial(launch.find_actor, launcher.namespace), launch.shared_pools(settings)
        arguments = {"find": find, "workers": WORKERS, "pools": pools, "timeout_s": 600}
        (router,) = await launcher.launch("router", Router, [arguments], small)
        at_once = settings.policy.max_num_seqs
        seats = [{"times": times, "place": place, "at_once": at_once} for place in range(STAND_INS)]
        others = await launcher.launch("sleeper", SleepingEngine, seats, small)
        ranks = await launcher.launch("learner-rank", SleepingRank, [{"times": times, "place": 0}], small)
        client = RolloutClient(workers, timeout_s=600, limit=launch.CALLS)
        engines = [others[place % STAND_INS] for place in range(settings.policy.engines)]
        learner = LearnerClient(ranks, engines, canary=CANARY, max_gap=1e-3, timeout_s=600)
        await client.pool.ask_all("ping")
        monitoring = asyncio.create_task(_monitor(settings, learner, client.pool, others))
        figures = await _measure(settings, Store(folder), learner, client, router)
        monitoring.cancel()
        await asyncio.gather(monitoring, return_exceptions=True)
        return figures
    finally:
        await launcher.close()
        await asyncio.to_thread(connection.leave)


async def _monitor(settings: RunSettings, learner: LearnerClient, workers: Pool, others: list[Any]) -> None:
    """Monitors the actors like `RunActors.monitor`, at the benchmark's shorter interval."""

    def pool(name: str, num: int, fault: Any) -> Pool:
        return Pool(name, [others[place % STAND_INS] for place in range(num)], fault=fault, timeout_s=600, limit=1)

    browsers = pool("browser", settings.browser.count, BrowserFault)
    critics = pool("critic", settings.critic.count, CriticFault)
    few, many = [learner.ranks, learner.engines], [workers, browsers, critics]
    actors = sum(len(one.handles) for one in (*few, *many))
    await monitor_actors(few, many, lambda _: None, lambda *_: None, check_interval_s(actors) / SPEED)


async def _measure(
    settings: RunSettings, store: Store, learner: LearnerClient, client: RolloutClient, router: Any
) -> Figures:
    """Runs steps until TRAJECTORIES trajectories were trained on after the warm-up."""
    tracker = Tracker(settings, store, "bench")
    observer = DriverObserver(settings, store, RunState(), Display(sys.stderr), tracker, "bench")
    run = Run(
        settings=settings,
        curriculum=Curriculum(settings),
        store=store,
        workers=client,
        learner=learner,
        observer=observer,
        state=observer.state,
    )
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    # After the warm-up, the trajectories generated ahead are at the staleness limit.
    warm = (2 + settings.max_staleness) * settings.groups * settings.group_size
    begun: tuple[float, list[float]] | None = None
    while not observer.rows or observer.rows[-1][0] < warm + TRAJECTORIES:
        await one_step(run, stream)
        if begun is None and observer.rows[-1][0] >= warm:
            begun = time.perf_counter(), await client.pool.ask_all("cpu")
            routed = await router.__ray_call__.remote(_cpu)
            first = len(observer.rows) - 1
    assert begun is not None, "some step ends the warm-up"
    wall_s, spent = time.perf_counter() - begun[0], await client.pool.ask_all("cpu")
    routed_s = await router.__ray_call__.remote(_cpu) - routed
    await stream.close()
    observer.background.finish()
    return _figures(observer.rows[first:], wall_s, sum(spent) - sum(begun[1]), routed_s) | _load(run)


def _cpu(_: Any) -> float:
    return time.process_time()


def _figures(rows: list[tuple[float, float, float]], wall_s: float, workers_s: float, router_s: float) -> Figures:
    num = rows[-1][0] - rows[0][0]
    memory, few = [mb for _, _, mb in rows], max(1, len(rows) // 10)
    return {
        "cpu_ms_per_trajectory": 1000 * (rows[-1][1] - rows[0][1]) / num,
        "memory_growth_mb": median(memory[-few:]) - median(memory[:few]),
        "worker_cpu_ms_per_trajectory": 1000 * workers_s / num,
        "router_cpu_ms_per_trajectory": 1000 * router_s / num,
        "trajectories": num,
        "trajectories_per_s": num / wall_s,
        "memory_mb_first": memory[0],
        "memory_mb_last": memory[-1],
        "speed": SPEED,
    }


def _load(run: Run) -> Figures:
    """The load on the stream."""
    rows = run.state.history[len(run.state.history) // 4 :]
    return {
        "in_flight": median(row["in_flight"] for row in rows),
        "tokens_a_page": median(row["tokens_mean"] for row in rows),
        "pages_a_trajectory": median(row["pages"] / row["trajectories"] for row in rows),
        "groups_given_up_a_step": median(row["groups_given_up"] for row in rows),
    }
