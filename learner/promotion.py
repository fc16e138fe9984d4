"""Champion promotion and regression tests on paired exam rewards, with bootstrap intervals.

Only a candidate with a strictly better exam replaces the champion; a learner strictly worse than the champion has
regressed.
"""

import random
from collections.abc import Mapping, Sequence
from statistics import fmean


def promote(candidate: Mapping[str, float], champion: Mapping[str, float], margin: float = 0.0) -> bool:
    """Whether the candidate's mean paired difference to the champion exceeds `margin`.

    Both map task ids to rewards. Returns False for ties and NaN. Raises ValueError when the tasks differ.
    """
    if candidate.keys() != champion.keys() or not candidate:
        apart = sorted(candidate.keys() ^ champion.keys())
        raise ValueError(
            f"exams must have the same tasks, at least one: candidate has {len(candidate)}, champion has "
            f"{len(champion)}, only in one of them: {', '.join(apart[:3]) or 'none'}"
        )
    return fmean(candidate[task] - champion[task] for task in candidate) > margin


def regressed(candidate: Mapping[str, float], champion: Mapping[str, float], margin: float = 0.0) -> bool:
    """Whether the candidate is worse than the champion by more than `margin`: `promote` with the sides exchanged.

    Returns False for ties and NaN too; if neither test holds, the learner continues unchanged.
    """
    return promote(champion, candidate, margin)


def bootstrap(differences: Sequence[float], *, seed: int, num: int = 2000) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % percentile bootstrap interval: `(mean, low, high)`.

    Draws `num` resamples of the pairs with replacement (Efron 1979). Raises ValueError when `differences` is empty.
    """
    if not differences:
        raise ValueError("a bootstrap needs at least one difference, got none")
    draw = random.Random(seed)
    means = sorted(fmean(draw.choices(differences, k=len(differences))) for _ in range(num))
    return fmean(differences), means[int(0.025 * num)], means[min(num - 1, int(0.975 * num))]


def crossed_bootstrap(
    differences: Sequence[Sequence[float]], *, seed: int, num: int = 2000
) -> tuple[float, float, float]:
    """Mean of a table of paired differences and its 95 % interval over rows and columns: `(mean, low, high)`.

    One row per training seed, one column per task. Rows and columns are resampled independently with replacement (the
    pigeonhole bootstrap, Owen 2007), so the interval covers other seeds *and* other tasks. Raises ValueError for an
    empty table or rows of different lengths.
    """
    if not differences or not differences[0] or len({len(row) for row in differences}) > 1:
        raise ValueError(
            f"a table needs rows of one length, at least 1, got lengths {[len(row) for row in differences]}"
        )
    draw = random.Random(seed)
    columns = range(len(differences[0]))
    means = sorted(
        fmean(fmean(map(row.__getitem__, picked)) for row in draw.choices(differences, k=len(differences)))
        for picked in (draw.choices(columns, k=len(columns)) for _ in range(num))
    )
    return fmean(map(fmean, differences)), means[int(0.025 * num)], means[min(num - 1, int(0.975 * num))]
