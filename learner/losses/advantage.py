"""How much better than its siblings a trajectory did: the group-relative advantages of GRPO."""

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Literal

Baseline = Literal["mean", "leave_one_out"]
FLAT = 1e-6
"""Standard deviation of a group's rewards below which they count as equal."""


def outcome(rewards: Sequence[float], *, normalize_std: bool, baseline: Baseline = "mean") -> list[float] | None:
    """Reward minus the group's mean, optionally over its standard deviation; None for a group without variance.

    Â_i = (R_i − mean(R)) / std(R), with the population's standard deviation (DeepSeekMath, arXiv 2402.03300);
    without the division as in Dr. GRPO (arXiv 2503.20783). `rewards` has one entry a sibling; fewer than two
    have nobody to be compared with, and count as flat. `leave_one_out` compares each with the mean of the others,
    (R_i − mean(R)) · G/(G − 1): the policy gradient without bias, whatever G (RLOO, arXiv 2402.14740).
    """
    if len(rewards) < 2:
        return None
    spread = pstdev(rewards)
    if spread < FLAT:
        return None
    mean, scale = fmean(rewards), spread if normalize_std else 1.0
    if baseline == "leave_one_out":
        scale *= (len(rewards) - 1) / len(rewards)
    return [(reward - mean) / scale for reward in rewards]


def earlier(rewards: Sequence[float], start: float) -> list[float] | None:
    """Each reward minus the mean of those before it and of `start`; None where all of them are equal.

    For attempts of one round, sampled until one is good enough, `start` being the page that they revise. What came
    before was known before the attempt was sampled, so it shifts no expectation, wherever the round ends; the mean
    of a whole round does, because how long it went on depends on the attempts themselves.
    """
    if pstdev([start, *rewards]) < FLAT:
        return None
    known = [start, *rewards]
    return [reward - fmean(known[:number]) for number, reward in enumerate(rewards, start=1)]


def turn(
    values: Sequence[Sequence[float]], *, normalize_std: bool, baseline: Baseline = "mean"
) -> list[list[float | None]] | None:
    """Each round's value against the siblings' values of the same round; None where fewer than two played it.

    `values[i][t]` is what sibling i's round t is worth: what it added (R_0, then R_t − R_{t−1}, or 0 when nothing
    was accepted). Pages are thus compared with pages and revisions with revisions, and a
    good revision does not excuse the page it had to repair. Returns None where no round carries a signal.
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
