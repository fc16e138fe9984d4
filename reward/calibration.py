"""Critic calibration: noise, rank agreement, position bias, and the acceptance margin that follows from the noise."""

from collections.abc import Sequence
from math import ceil, isnan, sqrt
from statistics import fmean, variance
from typing import Literal

from scipy.stats import spearmanr

from reward.settings import ScoreSettings

Better = Literal["first", "second", "tie"]
EVEN_CHANCE = 1.645
"""Standard deviations that an equally good page exceeds in one attempt of twenty (one-sided 5 %)."""
STEP = 0.005
"""Margins are rounded up to multiples of this."""


def retest_sd(repeats: Sequence[Sequence[float]]) -> float:
    """Standard deviation of repeated judgments of one page, pooled over pages; `repeats` is [pages][judgments].

    Raises ValueError without pages, or for a page with fewer than two judgments.
    """
    if not repeats or any(len(scores) < 2 for scores in repeats):
        raise ValueError(f"a retest needs at least two judgments per page, got {[len(scores) for scores in repeats]}")
    return sqrt(fmean(variance(scores) for scores in repeats))


def rank_agreement(ladders: Sequence[Sequence[float]]) -> float:
    """Mean Spearman correlation of scores with the true order, best page first, in [-1, 1].

    A ladder with equal scores for all pages counts 0.
    """
    return fmean(
        float(spearmanr(scores, range(len(scores), 0, -1)).statistic) if len(set(scores)) > 1 else 0.0
        for scores in ladders
    )


def pair_accuracy(ladders: Sequence[Sequence[float]]) -> float:
    """Share of page pairs of one ladder in the right order, in [0, 1]; ties count half."""
    right = [
        0.5 * (float(better > worse) + float(better >= worse))
        for scores in ladders
        for place, better in enumerate(scores)
        for worse in scores[place + 1 :]
    ]
    return fmean(right)


def position_bias(answers: Sequence[tuple[Better, Better]]) -> dict[str, float]:
    """Statistics of pairwise comparisons; each pair is shown with the better page first, then with it second.

    `accuracy`: the better page won both times. `consistency`: the same page won both times, or both were ties. `bias`:
    how much more often the page shown first won than the second, in [-1, 1]; 0 is unbiased.
    """
    shown = [answer for pair in answers for answer in pair]
    same = {("first", "second"), ("second", "first"), ("tie", "tie")}
    return {
        "accuracy": fmean(float(pair == ("first", "second")) for pair in answers),
        "consistency": fmean(float(pair in same) for pair in answers),
        "bias": fmean(float(answer == "first") - float(answer == "second") for answer in shown),
    }


def propose_margin(sd: float, score: ScoreSettings) -> float:
    """Proposes `episode.margin` for a critic's noise: an equally good page exceeds it in one attempt of twenty.

    The difference of two judgments has √2 times the standard deviation of one; it enters the reward with the critic's
    weight. Raises ValueError for a negative or NaN `sd`.
    """
    if isnan(sd) or sd < 0:
        raise ValueError(f"a standard deviation must be at least 0, got {sd}")
    weight = score.visual / (score.visual + score.format)  # tasks without probes give the critic the largest weight
    return min(0.995, ceil(EVEN_CHANCE * sqrt(2.0) * sd * weight / STEP - 1e-9) * STEP)
