"""Tests of the step time model: exact on constructed steps, and correct when all cores are busy."""

import pytest

from cluster.settings import RunSettings, check_settings
from cluster.training.bottleneck import USED_UP, Costs, advice, advise, balance, forecast, measure

SIZES = {"browser": 4, "policy": 2, "critic": 2, "learner": 1}


def row(**values: float) -> dict[str, float]:
    """A step of 30 s: four browsers work 64 s, two engines 20 s, two critics 4 s."""
    step = {"seconds_play": 20.0, "seconds_learn": 8.0, "seconds_sync": 2.0}
    return step | {"busy_browser": 64.0, "busy_policy": 20.0, "busy_critic": 4.0} | values


def settings(**changes: object) -> RunSettings:
    pools = {"browser": {"count": 4}, "policy": {"engines": 2}, "critic": {"count": 2}}
    return check_settings({**pools, "cluster": {"roles": True}, **changes}, "test")


def test_step_time_is_that_of_the_slowest_pool_plus_the_fill_time() -> None:
    costs = measure([row()], settings())
    now = forecast(costs, SIZES, 0)
    assert (costs.fill_s, now.step_s, now.holds_up) == (4.0, 30.0, "browser")
    assert forecast(costs, {**SIZES, "browser": 5}, 0).step_s == pytest.approx(64 / 5 + 4 + 8 + 2)
    assert forecast(costs, {**SIZES, "browser": 64}, 0).step_s == pytest.approx(20 / 2 + 4 + 8 + 2)


def test_learning_overlaps_with_playing_in_a_stream() -> None:
    costs = measure([row()], settings())
    assert forecast(costs, SIZES, 1).step_s == 20.0
    assert forecast(costs, {**SIZES, "learner": 2, "browser": 6}, 1).step_s == pytest.approx(64 / 6 + 4)


def test_advice_names_the_pool_and_the_saving() -> None:
    costs = measure([row(seconds_learn=0.5)], settings(max_staleness=1))
    assert advise(costs, SIZES, 1).startswith("browsers are the bottleneck: 3 more would save 6.")
    words = advise(measure([row()], settings()), SIZES, 0)
    assert words == (
        "playing and learning take turns: max_staleness = 1 would let them overlap and save 10.0 s of the "
        "30.0 s a step takes"
    )


def test_more_actors_do_not_help_when_all_cores_are_busy() -> None:
    alone = settings(cluster={"roles": False})
    words = advice([row(cpu_busy=0.99, cores=2)], alone)
    assert "more actors on this machine save nothing" in words
    assert advice([row(cpu_busy=0.96, cores=2)], alone) == words
    assert "save 10.0 s" in advice([row(cpu_busy=0.2, cores=64)], alone)


def test_busy_actors_estimate_cpu_use_without_a_measurement() -> None:
    alone = settings(cluster={"roles": False})
    assert measure([row()], alone, cores=2).cores_play_s == 20.0
    assert measure([row()], alone, cores=44).cores_play_s == pytest.approx(20.0 * 88 / 20 / 44 / USED_UP)


def test_measured_costs_exclude_waits_for_a_core() -> None:
    alone = settings(cluster={"roles": False})
    crowded, roomy = (measure([row(cpu_busy=busy, cores=cores)], alone) for busy, cores in ((1.0, 2), (0.2, 64)))
    assert sum(crowded.busy.values()) == pytest.approx(2 * 20.0)
    assert sum(roomy.busy.values()) == sum(measure([row()], settings()).busy.values())


def test_advice_says_that_pools_are_balanced() -> None:
    even = Costs(busy={"browser": 4.0, "policy": 2.0, "critic": 2.0}, busy_learner=0.0, sync_s=0.0)
    assert advise(even, SIZES, 1) == "pools are in balance: twice as many of any would save less than 3% of a step"
    assert advice([], settings()) == ""
    assert advice([{"seconds_play": 3.0}], settings()) == ""


def test_balance_uses_the_fewest_actors_that_keep_up_with_the_engines() -> None:
    sizes = balance(measure([row()], settings()), SIZES, 0)
    assert sizes == {"browser": 8, "policy": 2, "critic": 1, "learner": 1}
    assert 64 / sizes["browser"] <= 0.8 * 20 / 2 < 64 / (sizes["browser"] - 1)


def test_costs_need_a_step_with_measured_pool_times() -> None:
    with pytest.raises(ValueError, match="none of 1 steps has pool metrics"):
        measure([{"seconds_play": 3.0}], settings())
