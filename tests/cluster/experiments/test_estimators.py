"""Which estimators of the policy gradient are unbiased, measured exactly; and that the page about it is up to date."""

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


def test_baselines_leave_the_gradient_but_the_standard_deviation_bends_it() -> None:
    found = {name: quality(group_outcomes(kind), reward_gradient()) for name, kind in BASELINES.items()}
    bent = found.pop("mean, over the standard deviation")
    assert all(one.bias == pytest.approx(0, abs=1e-12) for one in found.values())
    assert found["leave_one_out"].scale == pytest.approx(1, abs=1e-12)
    assert found["mean"].scale == pytest.approx(3 / 4, abs=1e-12)
    assert found["mean"].noise < found["reward itself"].noise
    assert bent.bias > 0.1


def test_only_dr_grpo_is_blind_to_length() -> None:
    found = {
        loss: quality(group_outcomes(BASELINES["leave_one_out"], loss=loss), reward_gradient()).bias
        for loss in ("dapo", "grpo", "dr_grpo")
    }
    assert found["dr_grpo"] == pytest.approx(0, abs=1e-12)
    assert 0.05 < found["dapo"] < found["grpo"]


def test_a_round_that_ends_with_its_first_success_needs_a_baseline_that_looks_back() -> None:
    found = {name: quality(round_outcomes(kind), reward_gradient()) for name, kind in IN_ROUNDS.items()}
    assert found["earlier"].bias == pytest.approx(0, abs=1e-12)
    assert found["mean"].bias > 0.1
    assert found["leave_one_out"].bias > 0.1
    assert found["earlier"].noise < found["mean"].noise


def test_only_uncut_weights_of_whole_sequences_undo_another_engine() -> None:
    found = {n: quality(correction_outcomes(**kind), correction_gradient()) for n, kind in CORRECTIONS.items()}
    assert found["no cap, sequence"].bias == pytest.approx(0, abs=1e-12)
    assert found["no cap, sequence"].scale == pytest.approx(1, abs=1e-12)
    assert found["truncate, sequence"].bias < found["truncate, token"].bias < found["none"].bias
    assert found["truncate, sequence"].noise < found["no cap, sequence"].noise


def test_the_gradient_of_k1_restrains_nothing_and_its_loss_does() -> None:
    found = {kind: quality(kl_outcomes(kind), kl_gradient()) for kind in ("estimate", "k1", "k2", "k3")}
    assert found["estimate"].scale == 0
    for kind in ("k1", "k2"):
        assert (found[kind].scale, found[kind].bias) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert found["k3"].bias > 0.1


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == report(), "run python -m cluster.experiments.estimators"
