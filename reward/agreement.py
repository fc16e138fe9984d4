"""How well two critiques of the same page agree: a measure in [0, 1], and what it would be by chance.

Two sentences are as alike as the F1 of their words (van Rijsbergen 1979). Each sentence of the shorter critique goes
to one of the longer, so that the likenesses have the largest sum, which counts as the sentences that both have:

    agreement = 2 · Σ likeness / (sentences of one + sentences of the other)

So it is 1 for the same complaints in any order, falls for each that only one of them has, and is 0 where one finds
faults and the other none. Critics have their phrases, and critiques of different pages agree in those: `by_chance`
says how much, and only what is above it was seen on the page.
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
    """In [0, 1], symmetric; 1 where neither says anything."""
    from scipy.optimize import linear_sum_assignment

    if not one or not other:
        return float(not one and not other)
    likenesses = [[likeness(mine, theirs) for theirs in other] for mine in one]
    matched = zip(*linear_sum_assignment(likenesses, maximize=True), strict=True)
    return 2 * sum(likenesses[row][column] for row, column in matched) / (len(one) + len(other))


def likeness(one: str, other: str) -> float:
    """F1 of the words of two sentences, in [0, 1]; a word counts as often as both have it."""
    words, others = (Counter(WORD.findall(text.lower())) for text in (one, other))
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0


def on_page(pairs: Mapping[str, Pair]) -> float:
    """The mean agreement over pages, by whose names the pairs are. Raises StatisticsError for none."""
    return fmean(agreement(*pair) for pair in pairs.values())


def by_chance(pairs: Mapping[str, Pair]) -> float | None:
    """The mean agreement of each first critique with the second ones of the other pages; None where there are none."""
    across = [agreement(pairs[page][0], pairs[another][1]) for page, another in permutations(pairs, 2)]
    return fmean(across) if across else None
