"""Group-relative advantages (GRPO): how much better than its siblings an attempt or trajectory scored."""

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Literal

Baseline = Literal["mean", "leave_one_out"]
FLAT = 1e-6
"""Groups whose rewards have a smaller standard deviation count as equal."""


def outcome(rewards: Sequence[float], *, normalize_std: bool, baseline: Baseline = "mean") -> list[float] | None:
    """Reward minus the group's mean, optionally over its standard deviation; None for a group without variance.

    Â_i = (R_i − mean(R)) / std(R), with the population's standard deviation (DeepSeekMath, arXiv 2402.03300); without
    the division as in Dr. GRPO (arXiv 2503.20783). One reward per sibling; fewer than two have no variance.
    `leave_one_out` subtracts the mean of the others, (R_i − mean(R)) · G/(G − 1): unbiased for any G (RLOO, arXiv
    2402.14740).
    """
    if len(rewards) < 2:
        return None
    spread = pstdev(rewards)
    if spread < FLAT:
        return None
    mean = fmean(rewards)
    scale = spread if normalize_std else 1.0
    if baseline == "leave_one_out":
        scale *= (len(rewards) - 1) / len(rewards)
    return [(reward - mean) / scale for reward in rewards]


def earlier(rewards: Sequence[float], start: float) -> list[float] | None:
    """Each reward minus the mean of `start` and the rewards before it; None if all of them are equal.

    For attempts of one round, sampled until one is accepted; `start` is the reward of the page they revise. This
    baseline is known before the attempt is sampled, so it adds no bias. The mean of the whole round does, because the
    number of attempts depends on the attempts themselves.
    """
    if pstdev([start, *rewards]) < FLAT:
        return None
    known = [start, *rewards]
    return [reward - fmean(known[:number]) for number, reward in enumerate(rewards, start=1)]


def turn(
    values: Sequence[Sequence[float]], *, normalize_std: bool, baseline: Baseline = "mean"
) -> list[list[float | None]] | None:
    """Compares each round's value with the siblings' values of the same round.

    `values[i][t]` is the gain of sibling i in round t (R_0, then R_t − R_{t−1}, or 0 when nothing was accepted). First
    pages are compared with first pages and revisions with revisions, so a good revision does not compensate for the
    page that it repairs. None for rounds with fewer than two players; returns None if no round carries a signal.
    """
    advantages: list[list[float | None]] = [[None] * len(mine) for mine in values]
    for number in range(max(map(len, values), default=0)):
        players = [sibling for sibling, mine in enumerate(values) if len(mine) > number]
        compared = outcome(
            [values[sibling][number] for sibling in players], normalize_std=normalize_std, baseline=baseline
        )
        for sibling, value in zip(players, compared or [], strict=False):
            advantages[sibling][number] = value
    return advantages if any(value is not None for mine in advantages for value in mine) else None
