"""Tests of judge calibration statistics."""

import random
from statistics import fmean

import pytest

from reward.calibration import pair_accuracy, position_bias, propose_margin, rank_agreement, retest_sd
from reward.settings import ScoreSettings


def test_retest_sd_recovers_the_noise() -> None:
    rng = random.Random(0)
    pages = [rng.random() for _ in range(400)]
    assert retest_sd([[rng.gauss(page, 0.05) for _ in range(4)] for page in pages]) == pytest.approx(0.05, rel=0.1)
    assert retest_sd([[0.3, 0.3], [0.9, 0.9]]) == 0.0
    with pytest.raises(ValueError, match="two judgments"):
        retest_sd([[0.3]])


def test_proposed_margin_passes_one_equal_page_in_twenty() -> None:
    score, rng, sd = ScoreSettings(), random.Random(1), 0.04
    margin = propose_margin(sd, score)
    weight = score.visual / (score.visual + score.format)
    passed = fmean(float(weight * (rng.gauss(0, sd) - rng.gauss(0, sd)) > margin) for _ in range(20_000))
    assert 0.03 < passed <= 0.055
    assert margin >= sd
    assert propose_margin(0.0, score) == 0.0
    assert propose_margin(9.0, score) < 1.0
    with pytest.raises(ValueError, match="at least 0"):
        propose_margin(float("nan"), score)


def test_rank_agreement_and_pair_accuracy_depend_on_order() -> None:
    assert rank_agreement([[1.0, 0.9, 0.2], [0.5, 0.4, 0.3]]) == pytest.approx(1.0)
    assert rank_agreement([[0.1, 0.2, 0.3]]) == pytest.approx(-1.0)
    assert rank_agreement([[0.5, 0.5, 0.5]]) == 0.0
    assert pair_accuracy([[1.0, 0.5, 0.5]]) == pytest.approx(2.5 / 3)


def test_position_bias_is_detected() -> None:
    biased = position_bias([("first", "first")] * 4)
    assert (biased["bias"], biased["accuracy"], biased["consistency"]) == (1.0, 0.0, 0.0)
    fair = position_bias([("first", "second"), ("tie", "tie")])
    assert (fair["bias"], fair["accuracy"], fair["consistency"]) == (0.0, 0.5, 1.0)
