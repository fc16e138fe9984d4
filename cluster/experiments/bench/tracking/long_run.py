"""A long run on the simulated cluster, logged to a new MLflow store by the run's own tracker."""

import asyncio
import io
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.experiments.bench.render import rendered
from cluster.experiments.bench.training_loop.simulated_actors import Cluster, Handle, SleepingBrowser, Times
from cluster.monitoring.display import Display
from cluster.monitoring.observer import Observer
from cluster.monitoring.tracking.metric_names import EXAM_MARK
from cluster.monitoring.tracking.tracker import Tracker
from cluster.settings import check_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.exam import run_exam
from cluster.training.loop import EXAM_SEED, one_step, play_group
from cluster.training.run import Run
from cluster.training.state import RunState
from cluster.training.stream import Stream
from rollout.records import Page, Probe, Render, Viewport

SPEED = 10_000.0
"""The simulated actors hardly sleep: the time goes to MLflow."""
TASKS = 8
"""Held-out tasks whose pages become images; also the number of different screenshots."""
SETTINGS: dict[str, Any] = {
    "name": "bench",
    "steps": 10**6,
    "groups": 2,
    "group_size": 4,
    "in_flight": 8,
    "refill": 0,
    "episode": {"rounds": 1, "attempts": 2, "speculate": 1, "max_tokens": 8000},
    "policy": {"engines": 2},
    "browser": {"count": 2},
    "critic": {"count": 2},
    "tracking": {"traces": 2},
    "report": {"every": 100, "films": 1},
}
LOOK_EVERY = 100
"""Steps between two exams, and between two lines of progress."""


class PicturedBrowser(SleepingBrowser):
    """A simulated browser with real screenshots: those of built-in designs, in turn."""

    def __init__(self, times: Times, place: int, renders: list[Render]) -> None:
        super().__init__(times, place)
        self.renders = itertools.cycle(renders)

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`."""
        made = await super().render(page, probes, viewports)
        return replace(made, shots=next(self.renders).shots)


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """A finished run in MLflow."""

    folder: Path
    """The folder with `mlflow.db`."""
    experiment: str
    mlflow_run: str

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.folder / "mlflow.db"


def log_run(folder: Path, steps: int) -> LongRun:
    """Plays a run of `steps` steps, with an exam every LOOK_EVERY steps, and logs it to `folder/mlflow.db`."""
    return asyncio.run(_log_run(folder, steps))


async def _log_run(folder: Path, steps: int) -> LongRun:
    settings = check_settings(SETTINGS, "the tracking bench")
    times = Times().faster(SPEED)
    _, renders = await rendered(TASKS)
    browsers = [Handle(PicturedBrowser(times, place, renders)) for place in range(settings.browser.count)]
    cluster = replace(Cluster.of(settings, times), browsers=browsers)
    store = Store(folder / "run")
    tracker = Tracker(settings, store, "run")
    observer = Observer(settings, store, RunState(), Display(io.StringIO()), tracker, "run")
    run = Run(
        settings=settings,
        curriculum=Curriculum(settings),
        store=store,
        workers=cluster.worker(settings, store.path),
        learner=cluster.learner(),
        observer=observer,
        state=observer.state,
    )
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    for step in range(1, steps + 1):
        await one_step(run, stream)
        if step % LOOK_EVERY == 0 or step == steps:
            await _examine(run, tracker)
            print(f"tracking … step {step} of {steps}", file=sys.stderr, flush=True)
    await stream.close()
    await asyncio.to_thread(observer.background.finish)
    tracker.finish("finished")
    return LongRun(
        folder=folder, experiment=str(tracker.client.get_run(tracker.run).info.experiment_id), mlflow_run=tracker.run
    )


async def _examine(run: Run, tracker: Tracker) -> None:
    step = run.state.step
    exam = await run_exam(run.workers, run.store, run.curriculum.held_out(TASKS), step=step, seed=EXAM_SEED)
    await asyncio.to_thread(
        tracker.metrics, [{"step": step, EXAM_MARK: exam.mean, "exam_valid": exam.valid}], EXAM_MARK
    )
    await asyncio.to_thread(tracker.exam_pictures, [step])
