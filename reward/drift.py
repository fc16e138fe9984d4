"""Whether a judge still judges as it did: a fixed set of pages, and how far two judgments of it are apart. Pure."""

import random
from collections.abc import Iterator, Mapping
from statistics import fmean

from reward.designs import FAMILIES, draw, vary
from rollout.records import Page, Task

WRONG = (0, 1, 2, 4)
"""Wrong traits of the pages, in turn: a judge that drifts need not do so at every height."""
CANARIES = 8


def canaries() -> Iterator[tuple[Task, Page]]:
    """Pages of built-in designs, some right and some wrong: the same for ever, in every process."""
    for place in range(CANARIES):
        design = draw(place, family=FAMILIES[2 * place % len(FAMILIES)], split="held_out")
        wrong = WRONG[place % len(WRONG)]
        html = vary(design, random.Random(place), wrong)[0] if wrong else design.task.reference_html
        yield design.task, Page(html=html)


def drift(first: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Mean absolute difference of two judgments of the same pages, scores by task, in [0, 1].

    A steady judge's noise is part of it: of test-retest standard deviation σ, it is 2σ/√π = 1.13 σ on average. Raises
    ValueError for judgments of different pages.
    """
    if first.keys() != now.keys() or not first:
        raise ValueError(f"a judge is compared on the same pages, got {sorted(first)} and {sorted(now)}")
    return fmean(abs(now[name] - first[name]) for name in first)
