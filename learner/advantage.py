"""How much better than its siblings a trajectory did: the group-relative advantages of GRPO."""

from collections.abc import Sequence
from statistics import fmean, pstdev

FLAT = 1e-6
"""Standard deviation of a group's rewards below which they count as equal."""


def outcome(rewards: Sequence[float], *, normalize_std: bool) -> list[float] | None:
    """Reward minus the group's mean, optionally over its standard deviation; None for a group without variance.

    Â_i = (R_i − mean(R)) / std(R), with the population's standard deviation (DeepSeekMath, arXiv 2402.03300);
    without the division as in Dr. GRPO (arXiv 2503.20783). `rewards` has one entry a sibling; fewer than two
    have nobody to be compared with, and count as flat.
    """
    if len(rewards) < 2:
        return None
    spread = pstdev(rewards)
    if spread < FLAT:
        return None
    mean, scale = fmean(rewards), spread if normalize_std else 1.0
    return [(reward - mean) / scale for reward in rewards]
