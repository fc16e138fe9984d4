"""Tests of champion promotion, regression, and bootstrap intervals."""

import math

import pytest

from learner.promotion import bootstrap, crossed_bootstrap, promote, regressed

CHAMPION = {"a": 0.5, "b": 0.25}


@pytest.mark.parametrize(
    ("candidate", "margin", "wanted"),
    [
        ({"a": 0.5, "b": 0.5}, 0.0, True),
        ({"b": 0.5, "a": 0.5}, 0.0, True),
        (CHAMPION, 0.0, False),
        ({"a": 0.5, "b": 0.5}, 0.125, False),
        ({"a": 0.5, "b": 0.5}, 0.124, True),
        ({"a": 0.0, "b": 0.5}, 0.0, False),
        ({"a": math.nan, "b": 1.0}, 0.0, False),
    ],
)
def test_promotion_needs_an_exam_better_by_more_than_the_margin(
    candidate: dict[str, float], margin: float, wanted: bool
) -> None:
    assert promote(candidate, CHAMPION, margin) is wanted


@pytest.mark.parametrize(
    ("candidate", "margin", "wanted"),
    [
        ({"a": 0.5, "b": 0.0}, 0.0, True),
        (CHAMPION, 0.0, False),
        ({"a": 0.5, "b": 0.0}, 0.125, False),
        ({"a": 0.5, "b": 0.0}, 0.124, True),
        ({"a": 1.0, "b": 0.0}, 0.0, False),
        ({"a": math.nan, "b": 0.0}, 0.0, False),
    ],
)
def test_regression_needs_an_exam_worse_by_more_than_the_margin(
    candidate: dict[str, float], margin: float, wanted: bool
) -> None:
    assert regressed(candidate, CHAMPION, margin) is wanted
    assert not (wanted and promote(candidate, CHAMPION, margin))


@pytest.mark.parametrize("candidate", [{"a": 1.0}, {"a": 1.0, "c": 1.0}])
def test_exams_of_different_tasks_cannot_be_compared(candidate: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="same tasks.*champion has 2"):
        promote(candidate, CHAMPION)


def test_bootstrap_interval_contains_the_mean_and_is_seeded() -> None:
    differences = [0.1 * (place % 7) - 0.2 for place in range(70)]
    mean, low, high = bootstrap(differences, seed=3)
    assert mean == pytest.approx(0.1)
    assert low < mean < high
    # The normal interval of 70 values with standard deviation 0.2 is 0.1 ± 0.047.
    assert (low, high) == pytest.approx((0.053, 0.147), abs=0.01)
    assert bootstrap(differences, seed=3) == (mean, low, high)
    assert bootstrap([0.5, 0.5], seed=0) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([], seed=0)


def test_crossed_bootstrap_covers_task_and_seed_variance() -> None:
    by_task = [[0.1 * (place % 7) - 0.2 for place in range(70)]] * 3
    mean, low, high = crossed_bootstrap(by_task, seed=3)
    assert mean == pytest.approx(0.1)
    # If all seeds agree, the interval is that over tasks.
    assert (low, high) == pytest.approx(bootstrap(by_task[0], seed=3)[1:], abs=0.01)
    by_seed = [[value] * 70 for value in (-0.3, 0.1, 0.5)]
    mean, low, high = crossed_bootstrap(by_seed, seed=3)
    assert mean == pytest.approx(0.1)
    # If all tasks agree, 70 of them count no more than one: all three draws may be the same seed.
    assert (low, high) == pytest.approx((-0.3, 0.5))
    assert crossed_bootstrap([[0.5]], seed=0) == (0.5, 0.5, 0.5)
    for table in ([], [[]], [[0.1], [0.1, 0.2]]):
        with pytest.raises(ValueError, match="rows of one length, at least 1"):
            crossed_bootstrap(table, seed=0)
