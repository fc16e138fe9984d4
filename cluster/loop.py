"""The whole run, top to bottom.

    play groups → store them → batch → learner update → verified weight sync → measure
        → exam and promotion → checkpoint → … → inference table

Knows neither Ray nor torch: a crew of test doubles runs the same lines as a cluster.
A run that resumes plays no step twice: it learns from the stored trajectories of the steps since its checkpoint.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.exam import inference_table, sit
from cluster.metrics import pool_metrics, step_metrics, update_metrics
from cluster.run import Run
from cluster.stream import Stream
from learner.batch import build
from learner.promotion import promote
from rollout.records import Group
from rollout.seeds import seed_of

EXAM_SEED = 20_251_013
"""One seed for every exam, so that two sittings differ by the policy alone."""


async def train(run: Run) -> None:
    """Trains to the last step, sits the last exam and fills the inference table."""
    settings, state = run.settings, run.state
    stream = Stream(lambda step, place: play_group(run, step, place), settings)
    try:
        if not state.exams:
            await examine(run)
        while state.step < settings.steps:
            await one_step(run, stream)
            last = state.step == settings.steps
            if last or state.step % settings.exam.every == 0:
                await examine(run)
            if last or state.step % settings.checkpoint.every == 0:
                await save(run)
        if not state.inference:
            await compare_inference(run)
            await save(run)
    finally:
        await stream.close()


async def one_step(run: Run, stream: Stream) -> None:
    """One update: from played groups to proven weights in every engine."""
    settings, state, step, clock = run.settings, run.state, run.state.step + 1, Clock()
    run.watcher.stage(f"step {step} of {settings.steps}")
    with clock("play"):
        groups = run.store.read_groups(step)
        if groups is None:
            groups = await stream.collect(step, lambda done, total: run.watcher.progress(done, total, "groups"))
            run.store.write_groups(step, groups)
    with clock("learn"):
        seed = seed_of(settings.seed, "batch", step)
        batch = build(groups, settings.learner, seed=seed, forced=settings.episode.forced)
        update = await run.learner.update(batch)
    with clock("sync"):
        sync = await run.learner.sync()
    metrics = step_metrics(groups, version=update.version - 1, seconds=clock.seconds) | update_metrics(update)
    metrics |= {"sync_gap": sync.gap, "sync_bytes": sync.bytes, "flat_groups": batch.flat_groups}
    metrics |= pool_metrics(metrics, settings)
    state.step = step
    state.history.append({"step": step, **metrics})
    run.watcher.step(state, groups)
    run.store.write_history(state.history)


async def play_group(run: Run, step: int, place: int) -> Group:
    """The group at a place of a step: its task and its seed depend on nothing else."""
    task, seed = run.curriculum.task(step, place), seed_of(run.settings.seed, step, place)
    keep = place < run.settings.report.films
    return await run.players.play_group(task, num=run.settings.group_size, seed=seed, keep=keep)


async def examine(run: Run) -> None:
    """The policy sits the exam; the champion moves only to a strictly better one."""
    state, tasks = run.state, run.curriculum.held_out(run.settings.exam.tasks)
    run.watcher.stage(f"exam on {len(tasks)} held-out tasks")
    exam, played = await sit(run.players, tasks, step=state.step, seed=EXAM_SEED)
    first = not state.exams
    better = first or promote(exam.rewards, state.champion.rewards, run.settings.exam.margin)
    state.exams.append(exam)
    if better:
        state.champion_step = exam.step
        await run.learner.export(run.champion)
    run.watcher.exam(exam, played, state)


async def compare_inference(run: Run) -> None:
    """Base decode, critic-free self-edit and the full loop, side by side on held-out tasks."""
    run.watcher.stage("inference table: base, self-edit, with critic")
    tasks = run.curriculum.held_out(run.settings.exam.inference_tasks)
    rounds = run.settings.exam.edit_rounds
    run.state.inference = await inference_table(run.players, tasks, rounds=rounds, seed=EXAM_SEED)


async def save(run: Run) -> None:
    """A checkpoint of the learner, and beside it the state of the run; the state comes last and makes it whole."""
    await run.learner.save(run.store.checkpoint(run.state.step))
    run.store.write_state(run.state.step, run.state.to_json(), keep=run.settings.checkpoint.keep)


class Clock:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
