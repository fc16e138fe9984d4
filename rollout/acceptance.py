"""The acceptance rule of Forced Optimization: an attempt must beat the best reward so far."""

from collections.abc import Sequence


def improves(reward: float, best: float, margin: float = 0.0) -> bool:
    """Returns whether a reward exceeds the trajectory's best so far by more than `margin`. NaN never improves."""
    return reward > best + margin


def first_improvement(rewards: Sequence[float], best: float, margin: float = 0.0) -> int | None:
    """Index of the first reward in sampling order that improves, or None.

    Choosing the first rather than the best gives concurrent attempts the distribution of sequential resampling.
    """
    return next((index for index, reward in enumerate(rewards) if improves(reward, best, margin)), None)


def violations(rewards: Sequence[float]) -> int:
    """Number of times a sequence of accepted rewards fails to rise strictly; 0 if valid."""
    return sum(not later > earlier for earlier, later in zip(rewards, rewards[1:], strict=False))
