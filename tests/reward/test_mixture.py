"""Tests of the critic ensemble: exact for equal scores, bounded by its members, and all members kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward.mixture import mean_of, vote_of
from rollout.records import Comparison, Critique, Preference


def said(score: float, *feedback: str, judge: str = "j", tokens: int = 0) -> Critique:
    return Critique(score=score, feedback=feedback, judge=judge, parts={"layout": score}, tokens=tokens)


def test_weighted_mean_keeps_every_member() -> None:
    looks, model = said(0.9, "One.", "Two.", judge="visual-4"), said(0.5, "Three.", "One.", judge="m", tokens=70)
    mixed = mean_of({"visual": looks, "http": model}, {"visual": 3.0, "http": 1.0})
    assert mixed.score == pytest.approx(0.8)
    assert mixed.feedback == ("Three.", "One.", "Two.")  # lowest score first; repeated sentences are dropped
    assert mixed.parts == {"visual": 0.9, "http": 0.5}
    assert mixed.members == {"visual": looks, "http": model}
    assert (mixed.judge, mixed.tokens) == ("visual-4 + m", 70)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 10)), min_size=1, max_size=5))
def test_ensemble_score_lies_between_its_members(found: list[tuple[float, float]]) -> None:
    critiques = {str(place): said(score) for place, (score, _) in enumerate(found)}
    score = mean_of(critiques, {str(place): weight for place, (_, weight) in enumerate(found)}).score
    scores = [score for score, _ in found]
    assert min(scores) - 1e-9 <= score <= max(scores) + 1e-9
    if set(scores) == {1.0}:
        assert score == 1.0


VOTES: list[tuple[Preference, Preference, float, Preference]] = [
    ("new", "new", 1.0, "new"),
    ("new", "old", 1.0, "tie"),
    ("new", "old", 3.0, "new"),
    ("new", "tie", 0.1, "new"),
    ("old", "tie", 0.1, "old"),
    ("tie", "tie", 1.0, "tie"),
]


@pytest.mark.parametrize(("one", "other", "weight", "wanted"), VOTES)
def test_votes_are_weighted_in_each_order(
    one: Preference, other: Preference, weight: float, wanted: Preference
) -> None:
    a = Comparison(answers=(one, "old"), judge="a", tokens=2)
    b = Comparison(answers=(other, "new"), judge="b", rubric="pair-1", tokens=3)
    vote = vote_of({"a": a, "b": b}, {"a": weight, "b": 1.0})
    assert vote.answers[0] == wanted
    assert (vote.judge, vote.rubric, vote.tokens, vote.members) == ("a + b", "pair-1", 5, {"a": a, "b": b})


def test_weights_equal_in_decimals_tie() -> None:
    sides: tuple[Preference, ...] = ("new", "new", "new", "old")
    votes = {str(i): Comparison(answers=(side, side), judge="j") for i, side in enumerate(sides)}
    assert vote_of(votes, {"0": 0.1, "1": 0.1, "2": 0.1, "3": 0.3}).answers == ("tie", "tie")
