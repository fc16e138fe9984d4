"""Critic drift: a fixed set of canary pages, and the difference between two judgments of it."""

import random
from collections.abc import Iterator, Mapping
from statistics import fmean

from reward.designs import FAMILIES, draw, vary
from rollout.records import Page, Task

WRONG = (0, 1, 2, 4)
"""Numbers of wrong traits on the canary pages, in turn: a critic may drift in only a part of its score range."""
CANARIES = 8


def canaries() -> Iterator[tuple[Task, Page]]:
    """Yields pages of built-in designs, some correct and some with faults; identical in every process."""
    for place in range(CANARIES):
        design = draw(place, family=FAMILIES[2 * place % len(FAMILIES)], split="held_out")
        wrong = WRONG[place % len(WRONG)]
        html = vary(design, random.Random(place), wrong)[0] if wrong else design.task.reference_html
        yield design.task, Page(html=html)


def drift(first: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Mean absolute difference of two judgments of the same pages, in [0, 1]; both map task ids to scores.

    It includes the noise of a steady critic: with test-retest standard deviation σ, it is 2σ/√π = 1.13 σ on average.
    Raises ValueError when the pages differ.
    """
    if first.keys() != now.keys() or not first:
        raise ValueError(f"both judgments must be of the same pages, got {sorted(first)} and {sorted(now)}")
    return fmean(abs(now[name] - first[name]) for name in first)
