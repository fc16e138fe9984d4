"""Tests of the policy-gradient estimators' exact bias, and that docs/estimators.md is up to date."""

from pathlib import Path

import pytest

from cluster.experiments.estimators import (
    BASELINES,
    CORRECTIONS,
    IN_ROUNDS,
    correction_gradient,
    correction_outcomes,
    group_outcomes,
    kl_gradient,
    kl_outcomes,
    quality,
    report,
    reward_gradient,
    round_outcomes,
)

PAGE = Path(__file__).parents[3] / "docs" / "estimators.md"


def test_baselines_are_unbiased_except_division_by_the_standard_deviation() -> None:
    found = {name: quality(group_outcomes(kind), reward_gradient()) for name, kind in BASELINES.items()}
    bent = found.pop("mean, over the standard deviation")
    assert all(one.bias == pytest.approx(0, abs=1e-12) for one in found.values())
    assert found["leave_one_out"].scale == pytest.approx(1, abs=1e-12)
    assert found["mean"].scale == pytest.approx(3 / 4, abs=1e-12)
    assert found["mean"].noise < found["reward itself"].noise
    assert bent.bias > 0.1


def test_only_dr_grpo_is_unbiased_by_length() -> None:
    found = {
        loss: quality(group_outcomes(BASELINES["leave_one_out"], loss=loss), reward_gradient()).bias
        for loss in ("dapo", "grpo", "dr_grpo")
    }
    assert found["dr_grpo"] == pytest.approx(0, abs=1e-12)
    assert 0.05 < found["dapo"] < found["grpo"]


def test_rounds_that_end_at_the_first_success_need_the_earlier_baseline() -> None:
    found = {name: quality(round_outcomes(kind), reward_gradient()) for name, kind in IN_ROUNDS.items()}
    assert found["earlier"].bias == pytest.approx(0, abs=1e-12)
    assert found["mean"].bias > 0.1
    assert found["leave_one_out"].bias > 0.1
    assert found["earlier"].noise < found["mean"].noise


def test_only_uncapped_sequence_weights_remove_the_off_policy_bias() -> None:
    found = {n: quality(correction_outcomes(**kind), correction_gradient()) for n, kind in CORRECTIONS.items()}
    assert found["no cap, sequence"].bias == pytest.approx(0, abs=1e-12)
    assert found["no cap, sequence"].scale == pytest.approx(1, abs=1e-12)
    assert found["truncate, sequence"].bias < found["truncate, token"].bias < found["none"].bias
    assert found["truncate, sequence"].noise < found["no cap, sequence"].noise


def test_kl_estimators_differ_in_their_gradients() -> None:
    found = {kind: quality(kl_outcomes(kind), kl_gradient()) for kind in ("estimate", "k1", "k2", "k3")}
    assert found["estimate"].scale == 0
    for kind in ("k1", "k2"):
        assert (found[kind].scale, found[kind].bias) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert found["k3"].bias > 0.1


def test_estimators_page_matches_the_report() -> None:
    assert PAGE.read_text(encoding="utf-8") == report(), "run python -m cluster.experiments.estimators"
