"""Tests of complete runs on paper actors: learning, resuming, exams, faults and judge drift."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from doubles import Notebook, PaperCritic, PaperCurriculum, PaperLearner, PaperPolicy, services, worker
from exact import timeless

from cluster.monitoring.summary import summarise
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.drift import watch_judge
from cluster.training.exam import REVIEWED
from cluster.training.loop import examine, train
from cluster.training.run import Run
from cluster.training.state import RunState
from reward.mixture import mean_of
from rollout.errors import BudgetSpent, MachineError
from rollout.records import Critique


def settings(**values: Any) -> RunSettings:
    fields: dict[str, Any] = {
        "steps": 12,
        "groups": 8,
        "group_size": 4,
        "in_flight": 8,
        "episode": {"rounds": 1, "attempts": 2, "max_tokens": 16},
        "exam": {"tasks": 24, "every": 4, "inference_tasks": 6},
        "checkpoint": {"every": 3, "keep": 2},
    }
    return check_settings(fields | values, "test")


def make_run(path: Path, chosen: RunSettings, state: RunState | None = None, **members: Any) -> Run:
    policy = PaperPolicy()
    store = Store(path)
    workers = worker(services(policy=policy, **members), chosen.episode, store)
    return Run(
        settings=chosen,
        curriculum=PaperCurriculum(),  # type: ignore[arg-type]
        store=store,
        workers=workers,
        learner=PaperLearner(policy),
        observer=Notebook(),
        state=state or RunState(),
    )


async def resume(path: Path, chosen: RunSettings) -> Run:
    """Resume a paper run as `--resume` does."""
    store = Store(path)
    steps = store.saved_steps()
    state = RunState.from_json(store.read_state(steps[-1])) if steps else RunState()
    run = make_run(path, chosen, state)
    if steps:
        await run.learner.load(store.checkpoint(steps[-1]))
        await run.learner.sync()
    return run


async def test_loop_raises_render_rate_and_exam_reward(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings())
    await train(run)
    rates = [row["valid_render_rate"] for row in run.state.history]
    assert sum(rates[-3:]) / 3 > sum(rates[:3]) / 3 + 0.05
    assert run.state.champion.mean > run.state.exams[0].mean + 0.1
    assert [exam.step for exam in run.state.exams] == [0, 4, 8, 12]
    assert sum(row["violations"] for row in run.state.history) == 0
    assert set(run.state.inference) == {"base", "self_edit", "with_critic"}


async def test_same_seed_gives_the_same_metrics(tmp_path: Path) -> None:
    first, again = (make_run(tmp_path / name, settings()) for name in "ab")
    await train(first)
    await train(again)
    assert timeless(first.state.history) == timeless(again.state.history)
    assert [exam.rewards for exam in first.state.exams] == [exam.rewards for exam in again.state.exams]


@pytest.mark.parametrize("moment", [1, 5, 9, 30, 77, 130])
async def test_run_cut_at_any_moment_resumes_to_the_same_metrics(tmp_path: Path, moment: int) -> None:
    whole = make_run(tmp_path / "whole", settings())
    await train(whole)

    cut = make_run(tmp_path / "cut", settings())
    work = asyncio.create_task(train(cut))
    for _ in range(moment * 10):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    resumed = await resume(tmp_path / "cut", settings())
    await train(resumed)
    assert timeless(resumed.state.history) == timeless(whole.state.history)
    assert resumed.state.champion.mean == whole.state.champion.mean


EDITS = {"rounds": 1, "attempts": 2, "max_tokens": 16, "revision": "edits"}


async def test_edits_train_the_same_policy_as_whole_pages_and_resume_to_the_same_metrics(tmp_path: Path) -> None:
    """The paper policy has the same tokens for both forms, so only an error in the pages could change a metric."""
    pages = make_run(tmp_path / "pages", settings())
    await train(pages)
    edits = settings(episode=EDITS)
    cut = make_run(tmp_path / "cut", edits)
    work = asyncio.create_task(train(cut))
    for _ in range(500):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    resumed = await resume(tmp_path / "cut", edits)
    await train(resumed)
    assert timeless(resumed.state.history) == timeless(pages.state.history)
    assert [exam.rewards for exam in resumed.state.exams] == [exam.rewards for exam in pages.state.exams]
    written = [turn.attempts[0].completion.text for group in resumed.store.read_groups(9) or ()
               for one in group.trajectories for turn in one.turns[1:]]  # fmt: skip
    assert written
    assert all(">>>>>>> REPLACE" in text for text in written)


async def test_stored_exam_is_not_repeated(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(steps=1))
    await train(run)
    first, reviews = run.state.exams[0], (run.store.path / "exams" / "reviews-000000.json").read_text()
    again = make_run(tmp_path, settings(steps=1))
    again.workers.services.policy.logits[0] = 99.0  # type: ignore[attr-defined]
    await examine(again)
    assert again.state.exams == [first]
    assert (run.store.path / "exams" / "reviews-000000.json").read_text() == reviews


async def test_exam_measures_the_agreement_of_self_critique_and_critic(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(steps=1))
    await train(run)
    assert {exam.agreement for exam in run.state.exams} == {1.0}, "on paper both always say the same"
    assert {exam.agreement_by_chance for exam in run.state.exams} == {1.0}
    reviews = run.store.read_reviews(0)
    judged = [one for one in run.store.read_exam(0) or [] if one.turns[0].attempts[0].critique is not None]
    assert list(reviews or {}) == [one.task.id for one in judged][:REVIEWED]
    hopeless = make_run(tmp_path / "hopeless", settings(steps=1))
    hopeless.workers.services.policy.logits[0] = 99.0  # type: ignore[attr-defined]
    await examine(hopeless)
    assert hopeless.state.exams[0].agreement is None, "the critic saw no page"


async def test_machine_faults_are_dropped_and_counted_but_never_scored(tmp_path: Path) -> None:
    chosen = settings(steps=2, episode={"rounds": 0, "retries": 0, "max_tokens": 16}, exam={"tasks": 4})
    run = make_run(tmp_path, chosen)
    run.observer.exam = lambda *_: setattr(run.workers.services.renderer, "faults", 3)  # type: ignore
    await train(run)
    assert run.state.history[0]["dropped"] == 3
    assert run.state.history[0]["trajectories"] >= 8 * 4 - 3
    assert summarise("r", "finished", run.state, chosen)["episodes"]["dropped"] == 3


async def test_too_many_machine_faults_stop_the_run(tmp_path: Path) -> None:
    chosen = settings(steps=2, episode={"rounds": 0, "retries": 0, "max_tokens": 16}, exam={"tasks": 4})
    run = make_run(tmp_path, chosen)
    run.observer.exam = lambda *_: setattr(run.workers.services.renderer, "faults", 10_000)  # type: ignore
    with pytest.raises(MachineError, match=r"\d+ of \d+ episodes of a step were lost to machine faults"):
        await train(run)


async def test_staleness_is_bounded_and_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path, settings(max_staleness=1, in_flight=256))
    await train(run)
    staleness = [row["staleness"] for row in run.state.history]
    assert max(staleness) <= 1
    strict = make_run(tmp_path / "strict", settings())
    await train(strict)
    assert {row["staleness"] for row in strict.state.history} == {0}


async def test_loop_learns_with_pairwise_comparisons(tmp_path: Path) -> None:
    critic = PaperCritic()
    run = make_run(tmp_path, settings(episode={"rounds": 1, "attempts": 2, "max_tokens": 16, "pairwise": True}))
    run.workers.services = services(policy=run.learner.policy, critic=critic)  # type: ignore[attr-defined]
    await train(run)
    assert run.state.champion.mean > run.state.exams[0].mean + 0.1
    assert critic.compared
    assert sum(row["violations"] for row in run.state.history) == 0
    compared = [row for row in run.state.history if "compared" in row]
    assert compared
    assert all(row["preferred_rate"] == 1.0 for row in compared)  # the paper critic compares pages by their scores
    assert all(row["judge_tokens"] == 2 * row["compared"] for row in compared)


async def test_judge_drift_is_detected_also_after_a_resume(tmp_path: Path) -> None:
    few = {"episode": {"rounds": 0, "max_tokens": 16}, "exam": {"tasks": 2}, "checkpoint": {"every": 1}, "groups": 2}
    chosen = settings(steps=4, critic={"drift_every": 2}, **few)
    critic = PaperCritic()
    run = make_run(tmp_path, chosen, critic=critic)
    steady, notes = run.observer.step, run.observer.notes  # type: ignore[attr-defined]

    def drift_after_two(state: RunState, groups: Any) -> None:
        steady(state, groups)
        critic.shift = 0.2 if state.step >= 2 else 0.0

    run.observer.step = drift_after_two  # type: ignore[method-assign]
    await train(run)
    assert [row.get("judge_drift") for row in run.state.history] == [0.0, 0.0, None, pytest.approx(0.2, abs=0.06)]
    assert [note.partition(":")[0] for note in notes if "drifted" in note] == ["step 4"]
    assert critic.fresh == 3 * 8

    resumed = await resume(tmp_path, settings(steps=6, critic={"drift_every": 2}, **few))
    resumed.workers.services.critic.shift = 0.2  # type: ignore[attr-defined]
    await train(resumed)
    assert resumed.state.history[-1]["judge_drift"] == run.state.history[-1]["judge_drift"]


async def test_drift_check_is_repeated_after_a_critic_fault(tmp_path: Path) -> None:
    critic = PaperCritic()
    run = make_run(tmp_path, settings(steps=2, critic={"drift_every": 1}, exam={"tasks": 2}), critic=critic)

    async def look(step: int, faults: int) -> dict[str, float]:
        critic.faults = faults
        return await watch_judge(run, step)

    assert await look(1, 99) == {}
    assert run.state.canaries == {}
    assert "failed: the paper critic is lost for words" in run.observer.notes[-1]  # type: ignore[attr-defined]
    assert await look(2, 2) == {"judge_drift": 0.0}


async def test_drift_note_names_the_drifting_critic_of_an_ensemble(tmp_path: Path) -> None:
    class Pair(PaperCritic):
        async def judge(self, *args: Any, **kwargs: Any) -> Critique:
            steady = await PaperCritic().judge(*args, **kwargs)
            moving = await super().judge(*args, **kwargs)
            return mean_of({"steady": steady, "moving": moving}, {"steady": 9.0, "moving": 1.0})

    critic = Pair(shift=-0.2)
    run = make_run(tmp_path, settings(critic={"drift_every": 1}), critic=critic)
    assert await watch_judge(run, 1) == {"judge_drift": 0.0}
    critic.shift = 0.0
    assert (await watch_judge(run, 2))["judge_drift"] == pytest.approx(0.2)
    (note,) = run.observer.notes  # type: ignore[attr-defined]
    assert "the critic 'moving' has drifted: its scores of 8 fixed pages are on average 0.200 from" in note


async def test_spent_judge_budget_ends_the_run_without_dropped_episodes(tmp_path: Path) -> None:
    class Dear(PaperCritic):
        async def judge(self, *args: Any, **kwargs: Any) -> Critique:
            self.fresh += 1
            if self.fresh > 400:
                raise BudgetSpent("critic.max_total_tokens: spent")
            return await super().judge(*args, **kwargs)

    run = make_run(tmp_path, settings(exam={"tasks": 4}), critic=Dear())
    with pytest.raises(BudgetSpent):
        await train(run)
    assert run.state.step >= 1
    assert sum(row["dropped"] for row in run.state.history) == 0
