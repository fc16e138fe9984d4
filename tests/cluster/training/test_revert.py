"""Tests of the revert to the champion after a worse exam, on paper actors with a learner of negative learning rate."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from doubles import Notebook, PaperCurriculum, PaperLearner, PaperPolicy, services, worker

from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.loop import save, train
from cluster.training.run import Run
from cluster.training.state import RunState


def settings(on_regression: str = "revert", **values: Any) -> RunSettings:
    fields: dict[str, Any] = {
        "steps": 9,
        "groups": 8,
        "group_size": 4,
        "in_flight": 64,
        "episode": {"rounds": 0, "max_tokens": 16},
        "exam": {"tasks": 24, "every": 3, "inference_tasks": 4, "on_regression": on_regression},
        "checkpoint": {"every": 1, "keep": 1},
    }
    return check_settings(fields | values, "test")


def make_run(path: Path, chosen: RunSettings, lr: float, state: RunState | None = None) -> Run:
    policy, store = PaperPolicy(), Store(path)
    return Run(
        settings=chosen,
        curriculum=PaperCurriculum(),  # type: ignore[arg-type]
        store=store,
        workers=worker(services(policy=policy), chosen.episode, store),
        learner=PaperLearner(policy, lr=lr),
        observer=Notebook(),
        state=state or RunState(),
    )


async def resume(path: Path, chosen: RunSettings, lr: float) -> Run:
    """Resume a paper run as `--resume` does."""
    store = Store(path)
    steps = store.saved_steps()
    state = RunState.from_json(store.read_state(steps[-1])) if steps else RunState()
    run = make_run(path, chosen, lr, state)
    if state.step:
        await run.learner.load(store.checkpoint(state.step))
    await run.learner.sync()
    return run


async def test_learner_reverts_to_the_champion_after_a_worse_exam(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(), lr=-2.0)
    await train(run)
    assert run.state.champion_step == 0
    assert [exam.step for exam in run.state.exams] == [0, 3, 6, 9]
    assert all(exam.mean < run.state.exams[0].mean for exam in run.state.exams[1:])
    assert run.learner.logits == run.workers.services.policy.logits == PaperPolicy().logits  # type: ignore[attr-defined]
    assert (run.state.step, run.state.version) == (9, 0)
    assert run.observer.notes[0] == "the exam after step 3 regressed: restored the champion of step 0"  # type: ignore[attr-defined]


async def test_learner_continues_after_a_worse_exam_with_keep(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings("keep"), lr=-2.0)
    await train(run)
    assert run.state.version == 9
    assert run.state.exams[-1].mean < run.state.exams[1].mean
    assert run.store.saved_steps() == [9], "no checkpoint of a champion where nobody goes back to it"


async def test_improving_learner_is_never_reverted(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, settings(name), lr=2.0) for name in ("revert", "keep")]
    for run in runs:
        await train(run)
    reverting, keeping = runs
    assert reverting.learner.logits == keeping.learner.logits  # type: ignore[attr-defined]
    assert reverting.state.champion_step > 0
    champion, last = reverting.state.champion_step, reverting.state.step
    assert reverting.store.saved_steps() == sorted({champion, last}), "pruning spares the champion's checkpoint"


async def test_margin_allows_a_worse_exam(tmp_path: Path) -> None:
    exam = {"tasks": 24, "every": 3, "inference_tasks": 4, "on_regression": "revert", "margin": 0.99}
    run = make_run(tmp_path, settings(exam=exam), lr=-2.0)
    await train(run)
    assert run.state.version == 9
    assert run.observer.notes == []  # type: ignore[attr-defined]


async def test_groups_played_ahead_by_a_reverted_policy_are_replayed(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(max_staleness=1), lr=-2.0)
    await train(run)
    for step in (4, 7):
        groups = run.store.read_groups(step) or []
        versions = {trajectory.oldest_version for group in groups for trajectory in group.trajectories}
        assert versions == {0}, "the champion wrote all of the step after the exam"


@pytest.mark.parametrize("moment", [4, 9, 14, 19, 24, 31, 40])
async def test_run_cut_at_any_moment_reverts_as_an_undisturbed_run(tmp_path: Path, moment: int) -> None:
    whole = make_run(tmp_path / "whole", settings(), lr=-2.0)
    await train(whole)
    cut = make_run(tmp_path / "cut", settings(), lr=-2.0)
    work = asyncio.create_task(train(cut))
    for _ in range(moment * 10):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    resumed = await resume(tmp_path / "cut", settings(), -2.0)
    await train(resumed)
    assert [exam.rewards for exam in resumed.state.exams] == [exam.rewards for exam in whole.state.exams]
    assert resumed.learner.logits == whole.learner.logits  # type: ignore[attr-defined]


async def test_run_stopped_after_a_worse_exam_reverts_on_resume(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(), lr=-2.0)

    def stop(exam: Any, state: RunState) -> None:
        if exam.step == 3:
            raise asyncio.CancelledError

    run.observer.exam = stop  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await train(run)
    # The last checkpoint of a run stopped here holds the worse policy and its exam.
    await save(run)
    resumed = await resume(tmp_path, settings(), -2.0)
    assert resumed.learner.logits != PaperPolicy().logits  # type: ignore[attr-defined]
    await train(resumed)
    assert resumed.observer.notes[0].endswith("step 3 regressed: restored the champion of step 0")  # type: ignore[attr-defined]
    assert [exam.step for exam in resumed.state.exams] == [0, 3, 6, 9]
