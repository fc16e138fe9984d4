"""Tests of judge drift over fixed pages."""

import pytest

from reward.drift import CANARIES, canaries, drift


def test_canary_pages_are_fixed_and_of_mixed_quality() -> None:
    pages = list(canaries())
    assert pages == list(canaries())
    assert len({task.id for task, _ in pages}) == len(pages) == CANARIES
    right = [page.html == task.reference_html for task, page in pages]
    assert 0 < sum(right) < len(right)


def test_drift_is_the_mean_absolute_difference() -> None:
    assert drift({"a": 0.5, "b": 0.2}, {"b": 0.4, "a": 0.4}) == pytest.approx(0.15)
    assert drift({"a": 0.5}, {"a": 0.5}) == 0.0
    with pytest.raises(ValueError, match="the same pages"):
        drift({"a": 0.5}, {"b": 0.5})
