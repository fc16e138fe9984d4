"""The whole run, top to bottom.

    play groups → store them → batch → learner update → verified weight sync → measure
        → exam and promotion → checkpoint → … → inference table

Knows neither Ray nor torch: a crew of test doubles runs the same lines as a cluster.
A run that resumes plays no step twice: it learns from the stored trajectories of the steps since its checkpoint.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cluster.curriculum import Curriculum
from cluster.exam import Exam, Players, inference_table, sit
from cluster.metrics import step_metrics, update_metrics
from cluster.settings import RunSettings
from cluster.state import RunState
from cluster.store import Store
from cluster.stream import Stream
from learner.batch import build
from learner.promotion import promote
from rollout.ports import Learner
from rollout.records import Group, Trajectory
from rollout.seeds import seed_of

EXAM_SEED = 20_251_013
"""One seed for every exam, so that two sittings differ by the policy alone."""


class Watcher(Protocol):
    """Who is told how the run goes: the tracker, the display."""

    def stage(self, text: str) -> None:
        """Something that takes a while begins."""
        ...

    def progress(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        ...

    def step(self, state: RunState, groups: list[Group]) -> None:
        """A step is finished; its metrics are the last of `state.history`."""
        ...

    def exam(self, exam: Exam, played: list[Trajectory], state: RunState) -> None:
        """An exam was sat."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...


@dataclass(kw_only=True)
class Run:
    """All that a run needs, hired or in-process."""

    settings: RunSettings
    store: Store
    players: Players
    learner: Learner
    watcher: Watcher
    state: RunState = field(default_factory=RunState)
    stopping: Callable[[], bool] = lambda: False
    """Asked before each step; a run that must stop does so with a checkpoint."""


async def train(run: Run) -> bool:
    """Trains to the last step; True when it got there, False when it was asked to stop on the way."""
    settings, state = run.settings, run.state
    curriculum = Curriculum(settings)
    held_out = curriculum.held_out(settings.exam.tasks)

    async def play_group(step: int, place: int) -> Group:
        task, seed = curriculum.task(step, place), seed_of(settings.seed, step, place)
        keep = place < settings.report.films
        return await run.players.play_group(task, num=settings.group_size, seed=seed, keep=keep)

    async def examine() -> None:
        run.watcher.stage(f"exam on {len(held_out)} held-out tasks")
        exam, played = await sit(run.players, held_out, step=state.step, seed=EXAM_SEED)
        better = bool(state.exams) and promote(exam.rewards, state.champion.rewards, settings.exam.margin)
        state.exams.append(exam)
        if better or exam.step == 0:
            state.champion_step = exam.step
            await run.learner.export(champion_path(run.store))
        run.watcher.exam(exam, played, state)

    stream = Stream(play_group, settings)
    try:
        if not state.exams:
            await examine()
        while state.step < settings.steps:
            if run.stopping():
                await save(run)
                return False
            step, clock = state.step + 1, Clock()
            run.watcher.stage(f"step {step} of {settings.steps}")
            with clock("play"):
                groups = run.store.read_groups(step)
                if groups is None:
                    groups = await stream.collect(step, lambda n, total: run.watcher.progress(n, total, "groups"))
                    run.store.write_groups(step, groups)
            with clock("learn"):
                batch = build(groups, settings.learner, seed=seed_of(settings.seed, "batch", step))
                update = await run.learner.update(batch)
            with clock("sync"):
                sync = await run.learner.sync()
            metrics = step_metrics(groups, version=update.version - 1, seconds=clock.seconds)
            metrics |= update_metrics(update)
            metrics |= {"sync_gap": sync.gap, "sync_bytes": sync.bytes, "flat_groups": batch.flat_groups}
            state.step = step
            state.history.append({"step": step, **metrics})
            run.store.write_history(state.history)
            run.watcher.step(state, groups)
            if step % settings.exam.every == 0 or step == settings.steps:
                await examine()
            if step % settings.checkpoint.every == 0 or step == settings.steps:
                await save(run)
        if not state.inference:
            run.watcher.stage("inference table: base, self-edit, with critic")
            tasks = held_out[: settings.exam.inference_tasks]
            rounds = settings.exam.edit_rounds
            state.inference = await inference_table(run.players, tasks, rounds=rounds, seed=EXAM_SEED)
            await save(run)
        return True
    finally:
        await stream.close()


async def save(run: Run) -> None:
    """A checkpoint of the learner, and beside it the state of the run; the state comes last and makes it whole."""
    await run.learner.save(run.store.checkpoint(run.state.step))
    run.store.write_state(run.state.step, run.state.to_json(), keep=run.settings.checkpoint.keep)


def champion_path(store: Store) -> Path:
    """Where the champion's weights are exported."""
    return store.path / "champion"


class Clock:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Mapping[str, float]]:
        started = time.monotonic()
        yield self.seconds
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
