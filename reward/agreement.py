"""Agreement of two critiques of the same page, in [0, 1], and its chance level.

Two sentences are as similar as the F1 of their words (van Rijsbergen 1979). Sentences are matched one to one with the
largest sum of similarities:

    agreement = 2 · Σ likeness / (sentences of one + sentences of the other)

It is 1 for the same complaints in any order, falls for each complaint of only one critique, and is 0 if only one finds
faults. Critiques of different pages share stock phrases; `by_chance` measures that level, and only agreement above it
depends on the page.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from statistics import fmean

WORD = re.compile(r"#?\w+")
"""Words, numbers and colours."""
Sentences = Sequence[str]
Pair = tuple[Sentences, Sentences]
"""Two critiques of one page."""


def agreement(one: Sentences, other: Sentences) -> float:
    """In [0, 1], symmetric; 1 if both critiques are empty."""
    from scipy.optimize import linear_sum_assignment

    if not one or not other:
        return float(not one and not other)
    likenesses = [[likeness(mine, theirs) for theirs in other] for mine in one]
    matched = zip(*linear_sum_assignment(likenesses, maximize=True), strict=True)
    return 2 * sum(likenesses[row][column] for row, column in matched) / (len(one) + len(other))


def likeness(one: str, other: str) -> float:
    """F1 of the words of two sentences, in [0, 1]; a word counts as often as it occurs in both."""
    words, others = (Counter(WORD.findall(text.lower())) for text in (one, other))
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0


def on_page(pairs: Mapping[str, Pair]) -> float:
    """Mean agreement over pages; `pairs` maps page names to critiques. Raises StatisticsError when it is empty."""
    return fmean(agreement(*pair) for pair in pairs.values())


def by_chance(pairs: Mapping[str, Pair]) -> float | None:
    """Mean agreement of each first critique with the second critiques of other pages; None for fewer than two pages."""
    across = [agreement(pairs[page][0], pairs[another][1]) for page, another in permutations(pairs, 2)]
    return fmean(across) if across else None
