"""Tests of group advantages."""

from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.losses.advantage import outcome, turn

rewards = st.lists(st.floats(0, 1, allow_nan=False), min_size=2, max_size=16)


@given(rewards, st.booleans())
def test_advantages_are_centred_and_keep_the_order(values: list[float], normalize: bool) -> None:
    advantages = outcome(values, normalize_std=normalize)
    if pstdev(values) < 1e-6:
        assert advantages is None
        return
    assert advantages is not None
    assert fmean(advantages) == pytest.approx(0, abs=1e-6)
    if normalize:
        assert pstdev(advantages) == pytest.approx(1)
    for (a, x), (b, y) in zip(
        zip(values, advantages, strict=True), zip(values[1:], advantages[1:], strict=True), strict=False
    ):
        assert (x <= y) == (a <= b) or abs(a - b) < 1e-9


@given(rewards, st.floats(-2, 2))
def test_constant_bonus_for_all_siblings_changes_no_advantage(values: list[float], bonus: float) -> None:
    once = outcome(values, normalize_std=False)
    again = outcome([value + bonus for value in values], normalize_std=False)
    if once is not None and again is not None:
        assert again == pytest.approx(once, abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5], [0.3, 0.3, 0.3], [0.1 + 0.2, 0.3]])
def test_group_without_variance_has_no_signal(values: list[float]) -> None:
    assert outcome(values, normalize_std=True) is None


def test_outcome_advantages_of_two_rewards() -> None:
    assert outcome([0.0, 1.0], normalize_std=True) == [-1.0, 1.0]
    assert outcome([0.0, 1.0], normalize_std=False) == [-0.5, 0.5]


def test_turn_credit_compares_gains_of_the_same_round() -> None:
    # The gain of a repaired page is not compared with the gain of a first page.
    gains = [[0.0, 0.8], [0.8, 0.0], [0.8]]
    advantages = turn(gains, normalize_std=False)
    assert advantages is not None
    assert [mine[0] for mine in advantages] == pytest.approx([-1.6 / 3, 0.8 / 3, 0.8 / 3])
    assert [mine[1] for mine in advantages[:2]] == pytest.approx([0.4, -0.4])


def test_turn_credit_skips_rounds_without_siblings_or_variance() -> None:
    assert turn([[0.5, 0.25], [0.25]], normalize_std=True) == [[1.0, None], [-1.0]]
    assert turn([[0.5, 0.2], [0.5]], normalize_std=True) is None
