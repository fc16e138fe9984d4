"""Tests of step metrics: where the time of a step went, for episodes with known times."""

from dataclasses import replace

import pytest
from doubles import task

from cluster.settings import check_settings
from cluster.training.metrics import pool_metrics, step_metrics
from rollout.records import (
    Attempt,
    Completion,
    Critique,
    Group,
    Page,
    Render,
    Reward,
    Trajectory,
    Turn,
    VersionSpan,
)

SETTINGS = check_settings({"browser": {"count": 2}, "critic": {"count": 2}, "learner": {"ranks": 4}}, "test")
SECONDS = {"play": 10.0, "learn": 5.0, "sync": 1.0}


def attempt(html: str, *, engine_s: float = 1.0, in_render: float = 3.0) -> Attempt:
    """Written in 4 s (of which `engine_s` is engine time), rendered in 2 s, judged in 0.5 s, with waits."""
    completion = Completion(
        prompt_ids=(1,),
        token_ids=(2, 3),
        logprobs=(-0.1, -0.1),
        text="",
        finish="stop",
        versions=(VersionSpan(version=0, start=0, end=2),),
        seconds=4.0,
        engine_seconds=engine_s,
    )
    page = Page(html=html)
    return Attempt(
        round=0,
        index=0,
        completion=completion,
        page=page,
        verdict="accepted",
        reward=Reward(total=0.5, gate=1),
        render=Render(page_sha256=page.sha256, outcome="ok", seconds=2.0),
        critique=Critique(score=0.5, feedback=(), judge="paper", seconds=0.5),
        seconds={"generate": 4.0, "render": in_render, "judge": 1.5},
    )


def step(*attempts: Attempt, reference: str | None = None) -> dict[str, float]:
    about = task("t", reference_html=reference)
    episodes = tuple(
        Trajectory(id=f"t/{i}", task=about, turns=(Turn(round=0, attempts=(one,)),)) for i, one in enumerate(attempts)
    )
    row = step_metrics([Group(task=about, trajectories=episodes)], version=0, seconds=SECONDS)
    return row | pool_metrics(row, SETTINGS)


def test_playing_time_is_divided_into_work_and_waiting() -> None:
    row = step(attempt("a"), attempt("b"))
    parts = {name: row[f"seconds_{name}"] for name in ("generate", "render", "judge", "wait")}
    total = 4.0 + 3.0 + 1.5
    expected = {"generate": 4.0, "render": 2.0, "judge": 0.5, "wait": 1.0 + 1.0}
    assert parts == pytest.approx({name: 10.0 * value / total for name, value in expected.items()})
    assert row["seconds_step"] == 16.0
    assert (row["queue_policy"], row["queue_browser"], row["queue_critic"]) == pytest.approx((0.8, 0.2, 0.2))


def test_idle_share_is_relative_to_wall_time_and_pool_size() -> None:
    row = step(attempt("a"), attempt("b"))
    assert row["idle_browser"] == pytest.approx(1 - 4.0 / (16.0 * 2))
    assert row["idle_critic"] == pytest.approx(1 - 1.0 / (16.0 * 2))
    assert row["idle_policy"] == pytest.approx(1 - 2.0 / 16.0)
    assert row["idle_learner"] == pytest.approx(1 - 5.0 / 16.0)


def test_http_critic_counts_as_several_parallel_workers() -> None:
    server = {"kind": "http", "base_url": "http://judge/v1", "model": "j", "in_flight": 8}
    row = pool_metrics(step(attempt("a"), attempt("b")), check_settings({"critic": server}, "test"))
    assert row["idle_critic"] == pytest.approx(1 - 1.0 / 8 / 16.0)


def test_cached_render_costs_no_browser_time() -> None:
    shared, remembered = attempt("a"), attempt("a", in_render=0.0)
    assert step(shared, remembered)["busy_browser"] == 2.0
    assert step(remembered)["busy_browser"] == 0.0


def test_reference_page_counts_as_browser_time() -> None:
    assert step(attempt("a"), attempt("b"), reference="<p>")["busy_browser"] == 3 * 2.0


def test_engines_without_engine_seconds_have_no_idle_share() -> None:
    row = step(replace(attempt("a"), completion=replace(attempt("a").completion, engine_seconds=0.0)))
    assert not {"busy_policy", "idle_policy"} & row.keys()
