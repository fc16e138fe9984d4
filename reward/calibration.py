"""How far a judge can be trusted: its noise, its sense of order, its bias, and the margin that follows. Pure."""

from collections.abc import Sequence
from math import ceil, isnan, sqrt
from statistics import fmean, variance
from typing import Literal

from scipy.stats import spearmanr

from reward.settings import ScoreSettings

Better = Literal["first", "second", "tie"]
EVEN_CHANCE = 1.645
"""Standard deviations that a page no better than the best so far exceeds in one attempt of twenty (one-sided 5 %)."""
STEP = 0.005
"""Margins are rounded up to whole steps."""


def retest_sd(repeats: Sequence[Sequence[float]]) -> float:
    """Standard deviation of judgments of one page, pooled over pages: [pages][judgments], at least two a page."""
    if not repeats or any(len(scores) < 2 for scores in repeats):
        raise ValueError(f"a retest wants two judgments of every page, got {[len(scores) for scores in repeats]}")
    return sqrt(fmean(variance(scores) for scores in repeats))


def rank_agreement(ladders: Sequence[Sequence[float]]) -> float:
    """Mean Spearman correlation of the scores with the order they should have, best page first, in [-1, 1].

    A judge that gives all pages of a ladder one score agrees with nothing: 0.
    """
    return fmean(
        float(spearmanr(scores, range(len(scores), 0, -1)).statistic) if len(set(scores)) > 1 else 0.0
        for scores in ladders
    )


def pair_accuracy(ladders: Sequence[Sequence[float]]) -> float:
    """Share of pairs of pages of one ladder that are in the right order, ties counting half, in [0, 1]."""
    right = [
        0.5 * (float(better > worse) + float(better >= worse))
        for scores in ladders
        for place, better in enumerate(scores)
        for worse in scores[place + 1 :]
    ]
    return fmean(right)


def position_bias(answers: Sequence[tuple[Better, Better]]) -> dict[str, float]:
    """What a judge that compares makes of pairs: each shown better page first, then better page second.

    `accuracy`: the better page won both times. `consistency`: the same page won both times, or there were two ties.
    `bias`: how much more often the first page won than the second, in [-1, 1]; 0 for a judge that does not care.
    """
    shown = [answer for pair in answers for answer in pair]
    same = {("first", "second"), ("second", "first"), ("tie", "tie")}
    return {
        "accuracy": fmean(float(pair == ("first", "second")) for pair in answers),
        "consistency": fmean(float(pair in same) for pair in answers),
        "bias": fmean(float(answer == "first") - float(answer == "second") for answer in shown),
    }


def propose_margin(sd: float, score: ScoreSettings) -> float:
    """`episode.margin` for a judge of this noise: what a page that is no better exceeds in one attempt of twenty.

    Two judgments differ by √2 as much as one is off, and a reward by as much of it as the judge decides.
    """
    if isnan(sd) or sd < 0:
        raise ValueError(f"a standard deviation is 0 or more, got {sd}")
    weight = score.visual / (score.visual + score.format)  # tasks without probes leave the most to the judge
    return min(0.995, ceil(EVEN_CHANCE * sqrt(2.0) * sd * weight / STEP - 1e-9) * STEP)
