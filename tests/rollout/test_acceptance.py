"""Tests of the acceptance rule of Forced Optimization, by its properties."""

from hypothesis import given
from hypothesis import strategies as st

from rollout.acceptance import first_improvement, improves, violations

rewards = st.floats(min_value=0, max_value=1)


@given(rewards, rewards)
def test_equal_reward_is_not_an_improvement(reward: float, margin: float) -> None:
    assert not improves(reward, reward, margin)


@given(st.lists(rewards), rewards)
def test_first_improvement_is_taken_and_not_the_best(values: list[float], best: float) -> None:
    index = first_improvement(values, best)
    better = [i for i, value in enumerate(values) if value > best]
    assert index == (better[0] if better else None)


def test_nan_never_improves() -> None:
    assert not improves(float("nan"), 0.0)
    assert violations([0.1, float("nan")]) == 1


def test_violations_counts_rewards_that_do_not_rise() -> None:
    assert violations([0.0, 0.5, 0.5, 0.4, 0.9]) == 2
    assert violations([0.0]) == 0
