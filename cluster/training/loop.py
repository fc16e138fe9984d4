"""The training loop of a run.

    play groups → store them → batch → learner update → verified weight sync → measure
        → exam and promotion → checkpoint → … → inference table

Imports neither Ray nor torch, so that tests run it with doubles in place of actors. A resumed run repeats no finished
work: it learns from the stored trajectories of the steps since its checkpoint, and continues with the pending groups.
"""

from cluster.training.diagnosis import signal_metrics
from cluster.training.drift import watch_judge
from cluster.training.exam import inference_table, run_exam, run_inference
from cluster.training.metrics import pool_metrics, step_metrics, update_metrics
from cluster.training.run import Run
from cluster.training.stage_times import StageClock
from cluster.training.stream import Stream
from learner.batch import build
from learner.promotion import promote, regressed
from rollout.records import Group
from rollout.seeds import seed_of

EXAM_SEED = 20_251_013
"""Seed of every exam, so that two exams differ only by the policy."""


async def train(run: Run) -> None:
    """Trains to the last step, runs the last exam and computes the inference table."""
    settings, state = run.settings, run.state
    stream = Stream(lambda step, place: play_group(run, step, place), settings, run.pending.places())
    try:
        await between_steps(run, stream)
        while state.step < settings.steps:
            await one_step(run, stream)
            await between_steps(run, stream)
        run.pending.clear()
        if not state.inference:
            await compare_inference(run)
            await save(run)
    finally:
        await stream.close()


async def between_steps(run: Run, stream: Stream) -> None:
    """Work between two steps, when due: exam, return to the champion, checkpoint."""
    settings, state = run.settings, run.state
    step = state.step
    last = step == settings.steps
    changed = False
    reverts = settings.exam.on_regression == "revert"
    if (last or step % settings.exam.every == 0) and (not state.exams or state.exams[-1].step < step):
        await examine(run)
        changed = True
    if reverts and has_regressed(run):
        await stream.close()  # Running and finished groups were started by the discarded policy.
        run.pending.clear()
        await revert(run)
        changed = True
    due = last or (step > 0 and step % settings.checkpoint.every == 0) or (reverts and state.champion_step == step)
    if due and (changed or step not in run.store.saved_steps()):
        await save(run)


async def one_step(run: Run, stream: Stream) -> None:
    """One step: plays groups, updates the learner, syncs verified weights."""
    settings, state = run.settings, run.state
    step = state.step + 1
    clock = StageClock()
    run.observer.stage(f"step {step} of {settings.steps}")
    with clock("play"):
        groups = run.store.read_groups(step)
        if groups is None:
            groups = await stream.collect(step, lambda done, total: run.observer.progress(done, total, "groups"))
            run.store.write_groups(step, groups)
            run.pending.clear(keep=stream.unlearnt())
    with clock("learn"):
        seed = seed_of(settings.seed, "batch", step)
        batch = build(groups, settings.learner, seed=seed, forced=settings.episode.forced)
        update = await run.learner.update(batch)
    with clock("sync"):
        sync = await run.learner.sync()
    metrics = step_metrics(groups, version=update.version - 1, seconds=clock.seconds) | update_metrics(update)
    metrics |= {"sync_gap": sync.gap, "sync_bytes": sync.bytes, "flat_groups": batch.flat_groups}
    metrics |= signal_metrics(groups, settings.learner)
    metrics |= pool_metrics(metrics, settings) | stream.metrics() | await watch_judge(run, step)
    state.step, state.version = step, update.version
    state.history.append({"step": step, **metrics})
    run.observer.step(state, groups)
    run.store.write_history(state.history)


async def play_group(run: Run, step: int, place: int) -> Group:
    """Plays or loads the group of a step and place, which alone determine its task and seed."""
    pending = run.pending
    begun = (step, place)
    group = pending.take(begun)
    if group is None:
        pending.begin(begun)
        task = run.curriculum.task(step, place)
        keep = place < run.settings.report.films
        group = await run.workers.play_group(task, num=run.settings.group_size, seed=pending.seed_of(begun), keep=keep)
        pending.put(begun, group)
    return group


async def examine(run: Run) -> None:
    """Runs the exam; the champion is replaced only by a strictly better policy."""
    state = run.state
    tasks = run.curriculum.held_out(run.settings.exam.tasks)
    run.observer.stage(f"exam on {len(tasks)} held-out tasks")
    exam = await run_exam(run.workers, run.store, tasks, step=state.step, seed=EXAM_SEED)
    better = not state.exams or promote(exam.rewards, state.champion.rewards, run.settings.exam.margin)
    state.exams.append(exam)
    if better:
        state.champion_step, state.champion_version = exam.step, state.version
        await run.learner.export(run.champion)
    run.observer.exam(exam, state)


def has_regressed(run: Run) -> bool:
    """Whether this step's exam regressed from the champion's while the learner does not hold the champion."""
    state = run.state
    exam = state.exams[-1]
    fresh = exam.step == state.step and state.version != state.champion_version
    return fresh and regressed(exam.rewards, state.champion.rewards, run.settings.exam.margin)


async def revert(run: Run) -> None:
    """Restores the champion in the learner and the engines: weights, optimizer state, version."""
    state = run.state
    await run.learner.load(run.store.checkpoint(state.champion_step))
    await run.learner.sync()
    state.version = state.champion_version
    champion = state.champion_step
    run.observer.note(f"the exam after step {state.step} regressed: restored the champion of step {champion}")


async def compare_inference(run: Run) -> None:
    """Computes the inference table: base decode, critic-free self-edit and the full loop on held-out tasks."""
    run.observer.stage("inference table: base, self-edit, with critic")
    tasks = run.curriculum.held_out(run.settings.exam.inference_tasks)
    rounds = run.settings.exam.edit_rounds
    run.state.inference = inference_table(await run_inference(run.workers, tasks, rounds=rounds, seed=EXAM_SEED))


async def save(run: Run) -> None:
    """Saves the learner, then the state of the run; a checkpoint is complete once its state is written."""
    await run.learner.save(run.store.checkpoint(run.state.step))
    spare = run.state.champion_step if run.settings.exam.on_regression == "revert" else None
    run.store.write_state(run.state.step, run.state.to_json(), keep=run.settings.checkpoint.keep, spare=spare)
