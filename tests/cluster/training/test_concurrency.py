"""Tests of the concurrency tuner: the number of groups in flight for known stage times."""

from dataclasses import replace
from typing import Any

import pytest
from doubles import PaperRenderer, services, task

from cluster.settings import RunSettings, check_settings
from cluster.training.concurrency import ConcurrencyTuner
from rollout.episode import play
from rollout.records import Attempt, Group
from rollout.settings import EpisodeSettings


def settings(**values: Any) -> RunSettings:
    fields: dict[str, Any] = {"groups": 8, "group_size": 2, "in_flight": 400, "browser": {"count": 8}}
    return check_settings(fields | {"critic": {"count": 40}, "policy": {"engines": 8}} | values, "test")


def timed(attempt: Attempt, write_s: float, render_s: float, judge_s: float, wait_s: float) -> Attempt:
    assert attempt.render is not None
    assert attempt.critique is not None
    return replace(
        attempt,
        completion=replace(attempt.completion, seconds=write_s),
        render=replace(attempt.render, seconds=render_s),
        critique=replace(attempt.critique, seconds=judge_s),
        seconds={"generate": write_s, "render": render_s + wait_s, "judge": judge_s},
    )


async def group(write_s: float = 18.0, render_s: float = 1.5, judge_s: float = 0.5, wait_s: float = 0.0) -> Group:
    """Two episodes of one page each, with these stage times."""
    actors = services(renderer=PaperRenderer())
    played = [await play(task("a"), actors, EpisodeSettings(rounds=0), seed=seed) for seed in range(40)]
    good = [one for one in played if one.turns[0].attempts[0].critique is not None][:2]
    trajectories = []
    for one in good:
        turn = one.turns[0]
        attempt = timed(turn.attempts[0], write_s, render_s, judge_s, wait_s)
        turns = (replace(turn, attempts=(attempt,)),)
        trajectories.append(replace(one, turns=turns, seconds=write_s + render_s + judge_s + wait_s))
    return Group(task=task("a"), trajectories=tuple(trajectories))


@pytest.mark.parametrize("wait_s", [0.0, 40.0])
async def test_groups_in_flight_keep_the_slowest_pool_busy_despite_queueing(wait_s: float) -> None:
    pace = ConcurrencyTuner(settings())
    assert pace.groups() == 200, "nothing is measured yet"
    pace.played(await group(wait_s=wait_s))
    # An episode takes 20 s without waiting, 1.5 s of it in one of 8 browsers: 107 keep the browsers busy; twice that.
    assert pace.groups() == round(2 * 20 / (1.5 / 8) / 2)


async def test_faster_pool_raises_groups_in_flight_up_to_the_limit() -> None:
    pace = ConcurrencyTuner(settings(browser={"count": 32}))
    pace.played(await group())
    assert pace.groups() == 200


async def test_slow_learner_lowers_groups_in_flight() -> None:
    pace = ConcurrencyTuner(settings())
    pace.played(await group())
    for seconds in (16.0, 16.0, 500.0):
        pace.learnt(seconds)
    # Learning takes one second per episode; the one long pause was an exam.
    assert pace.groups() == round(2 * 20 / 1.0 / 2)


async def test_groups_without_episodes_are_ignored() -> None:
    pace = ConcurrencyTuner(settings())
    pace.played(Group(task=task("a"), trajectories=(), dropped=2))
    assert pace.groups() == 200
