"""Streaming against the synchronous loop: the demo's settings on this machine, one crew, both ways in turn.

Each way begins with the same weights and is measured from the end of its first step, so that neither set-up nor exams
count. What plays ahead stays full to the end: the last steps are not fed from what nobody replaces.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from cluster.bench.part import Figures, warm_policy
from cluster.curriculum import Curriculum
from cluster.loop import one_step, play_group
from cluster.run import Run
from cluster.settings import RunSettings, load_settings
from cluster.store import Store
from cluster.stream import Stream
from cluster.watch import Processors
from rollout.records import Group

SETTINGS = Path("deploy/runs/demo.toml")
STEPS = int(os.environ.get("LOOP_STEPS", "5"))
ROUNDS = int(os.environ.get("LOOP_ROUNDS", "2"))
STALENESS = {"synchronous": 0, "streaming": 2}
KEPT = ("seconds_play", "seconds_learn", "seconds_sync", "staleness", "in_flight", "groups_given_up", "tokens_mean")


class Bystander:
    """A watcher who notes when steps end and how busy the processors were."""

    def __init__(self, name: str) -> None:
        self.name, self.ends, self.busy, self.processors = name, list[float](), list[float](), Processors()

    def stage(self, text: str) -> None:
        """Nothing to show."""

    def progress(self, done: int, total: int, text: str) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Said aloud."""
        print(f"\n{text}", file=sys.stderr)

    def step(self, state: Any, groups: list[Group]) -> None:
        """A step is finished."""
        self.ends.append(time.perf_counter())
        self.busy.append(self.processors.busy())
        self.processors.start()
        row = state.history[-1]
        told = ", ".join(f"{name} {row[name]:.3g}" for name in (*KEPT, "trajectories", "reward_first") if name in row)
        print(f"{self.name} step {state.step}: {told}, cores {self.busy[-1]:.0%}", file=sys.stderr, flush=True)

    def exam(self, exam: Any, played: Any, state: Any) -> None:
        """None is sat."""


def bench_streaming(overrides: Sequence[str] = ()) -> Figures:
    """Trajectories a second both ways, medians over rounds, their ratio, and what the policies were worth at last."""
    with tempfile.TemporaryDirectory() as folder:
        quick = ("exam.tasks=2", "exam.inference_tasks=1", "browser.cache_mb=0", "report.films=0")
        settings = load_settings(SETTINGS, [f"steps={STEPS + 8}", f"runs={folder}", *quick, *overrides])
        return asyncio.run(_both(settings, Path(folder)))


async def _both(settings: RunSettings, folder: Path) -> Figures:
    from cluster import crew

    connection = await asyncio.to_thread(crew.connect)
    hired = await crew.hire(settings, warm_policy(settings), Store(folder / "crew"))
    runs: dict[str, list[tuple[Run, Bystander]]] = {name: [] for name in STALENESS}
    start = folder / "start"
    try:
        await hired.learner.sync()
        await hired.learner.save(start)
        for turn in range(ROUNDS):
            for name, staleness in STALENESS.items():
                await hired.learner.load(start)
                await hired.learner.sync()
                # Other tasks and seeds each time: what was rendered before would be remembered.
                seed = settings.seed + len(STALENESS) * turn + list(STALENESS).index(name)
                chosen = settings.model_copy(update={"max_staleness": staleness, "seed": seed})
                runs[name].append(await _run(chosen, hired, folder / f"{name}-{turn}", name))
    finally:
        await hired.close()
        await asyncio.to_thread(connection.leave)
    return _figures(runs)


async def _run(settings: RunSettings, hired: Any, path: Path, name: str) -> tuple[Run, Bystander]:
    watcher = Bystander(name)
    run = Run(
        settings=settings,
        curriculum=Curriculum(settings),
        store=Store(path),
        players=hired.players,
        learner=hired.learner,
        watcher=watcher,
    )
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    try:
        for _ in range(STEPS):
            await one_step(run, stream)
    finally:
        await stream.close()
    return run, watcher


def _figures(runs: dict[str, list[tuple[Run, Bystander]]]) -> Figures:
    figures: Figures = {"steps": float(STEPS), "rounds": float(ROUNDS)}
    for name, several in runs.items():
        rows = [row for run, _ in several for row in run.state.history[1:]]
        figures[f"{name}_trajectories_per_s"] = median(_rate(run, watcher) for run, watcher in several)
        figures[f"{name}_cores_busy"] = fmean(share for _, watcher in several for share in watcher.busy[1:])
        figures[f"{name}_reward_last"] = fmean(run.state.history[-1]["reward_first"] for run, _ in several)
        figures[f"{name}_valid_last"] = fmean(run.state.history[-1]["valid_render_rate"] for run, _ in several)
        figures |= {f"{name}_{key}": fmean(row[key] for row in rows) for key in KEPT}
    ratio = figures["streaming_trajectories_per_s"] / figures["synchronous_trajectories_per_s"]
    return {"ratio_streaming_over_synchronous": ratio, **figures}


def _rate(run: Run, watcher: Bystander) -> float:
    """Trajectories learnt from in a second, from the end of the first step to that of the last."""
    learnt = sum(row["trajectories"] for row in run.state.history[1:])
    return learnt / (watcher.ends[-1] - watcher.ends[0])
