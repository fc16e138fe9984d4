"""Combines several critics: the weighted mean of their judgments, the weighted vote of their comparisons. Pure."""

from collections.abc import Mapping
from itertools import zip_longest

from rollout.parsing import MAX_SENTENCES
from rollout.records import Comparison, Critique, Preference

JOINED = " + "
VOTES: dict[Preference, float] = {"new": 1.0, "old": -1.0, "tie": 0.0}


def mean_of(critiques: Mapping[str, Critique], weights: Mapping[str, float]) -> Critique:
    """Weighted mean of several critiques of one page; the originals are kept in `members`, by critic name.

    `parts` contains the critics' scores. Feedback sentences alternate between critics, lowest score first. If all
    scores are 1, the mean is exactly 1. `weights` are positive and need not sum to 1; `seconds` is set by the caller.
    """
    total = sum(weights[name] for name in critiques)
    lost = sum(weights[name] * (1.0 - critique.score) for name, critique in critiques.items()) / total
    least_content = sorted(critiques.values(), key=lambda critique: critique.score)
    turns = zip_longest(*(critique.feedback for critique in least_content))
    said = dict.fromkeys(sentence for turn in turns for sentence in turn if sentence)
    return Critique(
        score=min(1.0, max(0.0, 1.0 - lost)),
        feedback=tuple(said)[:MAX_SENTENCES],
        parts={name: critique.score for name, critique in critiques.items()},
        judge=JOINED.join(critique.judge for critique in critiques.values()),
        rubric=JOINED.join(critique.rubric for critique in critiques.values() if critique.rubric),
        temperature=max(critique.temperature for critique in critiques.values()),
        tokens=sum(critique.tokens for critique in critiques.values()),
        members=dict(critiques),
    )


def vote_of(comparisons: Mapping[str, Comparison], weights: Mapping[str, float]) -> Comparison:
    """Weighted vote of several critics on two pages, for each order of presentation; equal weights give a tie."""
    return Comparison(
        answers=(_vote(comparisons, weights, 0), _vote(comparisons, weights, 1)),
        judge=JOINED.join(comparison.judge for comparison in comparisons.values()),
        rubric=JOINED.join(comparison.rubric for comparison in comparisons.values() if comparison.rubric),
        temperature=max(comparison.temperature for comparison in comparisons.values()),
        tokens=sum(comparison.tokens for comparison in comparisons.values()),
        members=dict(comparisons),
    )


def _vote(comparisons: Mapping[str, Comparison], weights: Mapping[str, float], order: int) -> Preference:
    balance = sum(weights[name] * VOTES[one.answers[order]] for name, one in comparisons.items())
    if abs(balance) < 1e-9:  # Weights that are equal in decimals need not cancel in binary.
        return "tie"
    return "new" if balance > 0 else "old"
