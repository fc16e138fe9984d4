"""Benchmark of streaming against the synchronous loop: the demo's settings, alternating, with new actors each time.

`synchronous` is this loop with `max_staleness = 0`, where episodes overlap within a step; `lockstep` has no overlap.
All modes start with the same weights and are measured after the third step, when the stream is full, which it stays;
set-up, exams and filling do not count. When streaming, the learner has one thread: two that synchronise at every
operation on shared cores take twice as long.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.training_loop.stage_by_stage import in_lockstep
from cluster.monitoring.processor_load import ProcessorLoad
from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings, load_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.loop import one_step, play_group
from cluster.training.run import Run
from cluster.training.stream import Stream
from rollout.records import Group

SETTINGS = Path("deploy/runs/demo.toml")
STEPS = int(os.environ.get("STREAMING_STEPS", "7"))
ROUNDS = int(os.environ.get("STREAMING_ROUNDS", "2"))
START = "start"
LOCKSTEP = "lockstep"
SLOWER = ("synchronous", LOCKSTEP)
STALENESS = {LOCKSTEP: 0, "synchronous": 0, "streaming": 2}
WARM = 1 + max(STALENESS.values())
"""Warm-up steps before the measured ones."""
KEPT = ("seconds_play", "seconds_learn", "seconds_sync", "staleness", "in_flight", "groups_given_up", "tokens_mean")


class NullObserver:
    """Observer that records the end of each step and the processor load."""

    def __init__(self, name: str) -> None:
        self.name, self.processors = name, ProcessorLoad()
        self.ends, self.busy = list[float](), list[float]()

    def stage(self, text: str) -> None:
        """Does nothing; the benchmark has no display."""

    def progress(self, done: int, total: int, text: str) -> None:
        """Does nothing; the benchmark has no display."""

    def note(self, text: str) -> None:
        """Prints the message."""
        print(f"\n{text}", file=sys.stderr)

    def step(self, state: Any, groups: list[Group]) -> None:
        """Records the end of a step and the processor load."""
        self.ends.append(time.perf_counter())
        self.busy.append(self.processors.busy())
        self.processors.start()
        row = state.history[-1]
        told = ", ".join(f"{name} {row[name]:.3g}" for name in (*KEPT, "trajectories", "reward_first") if name in row)
        print(f"{self.name} step {state.step}: {told}, cores {self.busy[-1]:.0%}", file=sys.stderr, flush=True)

    def exam(self, exam: Any, state: Any) -> None:
        """Does nothing; the benchmark has no exams."""

    def rate(self, run: Run, warm: int = 1) -> float:
        """Trajectories trained on a second, over the steps after the first `warm`."""
        learnt = sum(row["trajectories"] for row in run.state.history[warm:])
        return float(learnt / (self.ends[-1] - self.ends[warm - 1]))


def bench_streaming(overrides: Sequence[str] = ()) -> Figures:
    """Trajectories a second of each mode (median over rounds), their ratios, and the policies' final rewards."""
    with tempfile.TemporaryDirectory() as folder:
        quick = ("exam.tasks=2", "exam.inference_tasks=1", "browser.cache_mb=0", "report.films=0")
        settings = load_settings(SETTINGS, [f"steps={WARM + STEPS + 8}", f"runs={folder}", *quick, *overrides])
        return asyncio.run(_all(settings, Path(folder)))


async def _all(settings: RunSettings, folder: Path) -> Figures:
    runs: dict[str, list[tuple[Run, NullObserver]]] = {name: [] for name in STALENESS}
    for turn in range(ROUNDS):
        for name, staleness in STALENESS.items():
            learner = settings.learner.model_copy(update={"threads": 1} if staleness else {})
            values = {"max_staleness": staleness, "seed": settings.seed + turn, "learner": learner}
            chosen, place = settings.model_copy(update=values), folder / f"{name}-{turn}"
            async with launched(chosen, place) as actors:
                workers = _lockstep(chosen, actors, place / "run") if name == LOCKSTEP else actors.workers
                runs[name].append(await played(chosen, actors, place / "run", name, WARM + STEPS, workers))
    return _figures(runs)


@asynccontextmanager
async def launched(settings: RunSettings, folder: Path) -> AsyncIterator[Any]:
    """A run's actors on a separate Ray instance; the initial weights are saved in the folder."""
    from cluster.distributed import run_actors
    from cluster.distributed.connection import connect

    connection = await asyncio.to_thread(connect)
    try:
        actors = await run_actors.launch_actors(settings, warm_start_blocking(settings), Store(folder / "actors"))
        try:
            await actors.learner.sync()
            await actors.learner.save(folder / "actors" / START)
            yield actors
        finally:
            await actors.close()
    finally:
        await asyncio.to_thread(connection.leave)


def _lockstep(settings: RunSettings, actors: Any, path: Path) -> Any:
    """An in-process episode worker that runs its episodes through each stage together."""
    from cluster.distributed.launch import RayEpisodeWorker

    worker = RayEpisodeWorker(actors.launcher.namespace, settings, path)
    worker.services = in_lockstep(worker.services)
    return worker


async def played(
    settings: RunSettings, actors: Any, path: Path, name: str, steps: int, workers: Any = None
) -> tuple[Run, NullObserver]:
    """Runs steps from the initial weights, without exams."""
    await actors.learner.load(path.parent / "actors" / START)
    await actors.learner.sync()
    observer = NullObserver(name)
    run = Run(
        settings=settings,
        curriculum=Curriculum(settings),
        store=Store(path),
        workers=workers or actors.workers,
        learner=actors.learner,
        observer=observer,
    )
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    try:
        for _ in range(steps):
            await one_step(run, stream)
    finally:
        await stream.close()
    return run, observer


def _figures(runs: dict[str, list[tuple[Run, NullObserver]]]) -> Figures:
    figures: Figures = {"steps": float(STEPS), "rounds": float(ROUNDS)}
    for name, several in runs.items():
        rows = [row for run, _ in several for row in run.state.history[WARM:]]
        figures[f"{name}_trajectories_per_s"] = median(observer.rate(run, WARM) for run, observer in several)
        figures[f"{name}_cores_busy"] = fmean(share for _, observer in several for share in observer.busy[WARM:])
        figures[f"{name}_reward_last"] = fmean(run.state.history[-1]["reward_first"] for run, _ in several)
        figures[f"{name}_valid_last"] = fmean(run.state.history[-1]["valid_render_rate"] for run, _ in several)
        figures |= {f"{name}_{key}": fmean(row[key] for row in rows) for key in KEPT}
    rate = figures["streaming_trajectories_per_s"]
    ratios = {f"ratio_streaming_over_{name}": rate / figures[f"{name}_trajectories_per_s"] for name in SLOWER}
    return {**ratios, **figures}
