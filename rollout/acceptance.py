"""The one rule of Forced Optimization: an attempt is admitted only if it beats the best so far."""

from collections.abc import Sequence


def improves(reward: float, best: float, margin: float = 0.0) -> bool:
    """Whether a reward is strictly better than the best so far in its trajectory, by more than `margin`.

    NaN never improves.
    """
    return reward > best + margin


def first_improvement(rewards: Sequence[float], best: float, margin: float = 0.0) -> int | None:
    """Index of the first reward in sampling order that improves, or None.

    The first, never the best: attempts sampled at once then have the distribution of sequential resampling.
    """
    return next((index for index, reward in enumerate(rewards) if improves(reward, best, margin)), None)


def violations(rewards: Sequence[float]) -> int:
    """How often a sequence of accepted rewards fails to rise strictly; 0 for every sound trajectory."""
    return sum(not later > earlier for earlier, later in zip(rewards, rewards[1:], strict=False))
