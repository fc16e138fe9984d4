"""The training loop on a simulated cluster: useful utilisation of its slowest pool.

Stage times are those of a cluster, with heavy tails, divided by SPEED. Each case has another slowest pool. Its share is
the pool's busy seconds spent on trained samples, over wall seconds times pool size, from the run's own metrics; the
upper bound is 1.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.training_loop.simulated_actors import Cluster, Times
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.loop import one_step, play_group
from cluster.training.metrics import pool_sizes
from cluster.training.run import Run
from cluster.training.stream import Stream
from rollout.records import Group

SPEED = float(os.environ.get("SIMULATED_SPEED", "50"))
STEPS = int(os.environ.get("SIMULATED_STEPS", "6"))
WARM = 4
"""Warm-up steps: until stage times are estimated and the pipeline is full."""
CASES: dict[str, tuple[dict[str, Any], Times]] = {
    "engines": ({}, Times()),
    "browsers": ({"browser": {"count": 2}}, Times(render=1.5)),
    "critics": ({"critic": {"count": 11}}, Times()),
    "learner": ({}, Times(learn=340)),
}
"""Settings and times that make each pool the slowest; the others have at least an eighth more capacity."""
BASE: dict[str, Any] = {
    "steps": 10**6,
    "groups": 32,
    "group_size": 8,
    "in_flight": 1000,
    "max_staleness": 2,
    "refill": 0,
    "episode": {"rounds": 1, "attempts": 2, "speculate": 1, "max_tokens": 8000},
    "policy": {"engines": 8, "max_num_seqs": 16},
    "browser": {"count": 4},
    "critic": {"count": 32},
    "report": {"films": 0},
}


class SimulatedClock:
    """Observer that records the end time of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def stage(self, text: str) -> None:
        """Does nothing; the benchmark has no display."""

    def progress(self, done: int, total: int, text: str) -> None:
        """Does nothing; the benchmark has no display."""

    def note(self, text: str) -> None:
        """Prints the message."""
        print(text, file=sys.stderr)

    def step(self, state: Any, groups: list[Group]) -> None:
        """Records the end of a step."""
        self.ends.append(time.perf_counter())

    def exam(self, exam: Any, state: Any) -> None:
        """Does nothing; the benchmark has no exams."""


def bench_simulated() -> Figures:
    """The smallest share of the bound over the cases, and each case's share, streaming and synchronous."""
    shares: Figures = {}
    for name, (sizes, times) in CASES.items():
        shares[f"{name}_share"] = share_of_bound({**BASE, **sizes}, times, name)
    least = min(shares.values())
    sizes, times = CASES["engines"]
    shares["engines_share_staleness_1"] = share_of_bound({**BASE, **sizes, "max_staleness": 1}, times, "staleness 1")
    shares["engines_share_synchronous"] = share_of_bound({**BASE, **sizes, "max_staleness": 0}, times, "synchronous")
    return {"simulated_share_of_bound": least, **shares, "steps": float(STEPS), "speed": SPEED}


def share_of_bound(values: dict[str, Any], times: Times, name: str) -> float:
    """Share of the bound of one case, given its settings and its unscaled stage times."""
    with tempfile.TemporaryDirectory() as folder:
        settings = check_settings(values, "the simulated cluster")
        return asyncio.run(_run(settings, times.faster(SPEED), Path(folder), name))


async def _run(settings: RunSettings, times: Times, folder: Path, name: str) -> float:
    cluster, clock = Cluster.of(settings, times), SimulatedClock()
    run = Run(
        settings=settings,
        curriculum=Curriculum(settings),
        store=Store(folder),
        workers=cluster.worker(settings, folder),
        learner=cluster.learner(),
        observer=clock,
    )
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    warm = WARM if settings.max_staleness else 1
    for _ in range(warm + STEPS):
        await one_step(run, stream)
    await stream.close()
    rows, wall_s = run.state.history[warm:], clock.ends[-1] - clock.ends[warm - 1]
    # The learner is also busy during a sync.
    busy = {pool: sum(row[f"busy_{pool}"] for row in rows) / size for pool, size in pool_sizes(settings).items()}
    busy["learner"] += sum(row["seconds_sync"] for row in rows)
    told = ", ".join(f"{pool} {seconds / wall_s:.0%}" for pool, seconds in busy.items())
    lost = sum(row["groups_given_up"] for row in rows) / len(rows)
    print(f"{name}: {told}; {wall_s:.0f} s, {lost:.1f} groups given up per step", file=sys.stderr, flush=True)
    return max(busy.values()) / wall_s
