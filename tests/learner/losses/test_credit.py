"""Tests of credit assignment: properties of every kind of credit, and attempts at one prompt as a group."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from played_groups import attempt, group, played_round

from learner.batch import build
from learner.losses.credit import credited, has_signal
from learner.settings import LearnerSettings
from rollout.records import Group, Trajectory

KINDS: list[dict[str, Any]] = [
    *(
        {"credit": credit, "baseline": base}
        for credit in ("outcome", "turn", "page", "siblings")
        for base in ("mean", "leave_one_out")
    ),
    {"credit": "siblings", "baseline": "earlier"},
]
quick = trials(deadline=None, max_examples=30)
CENTS = st.integers(0, 80).map(lambda cents: cents / 128)
"""Rewards with exact differences in binary floating point."""


def settings(kind: dict[str, Any], **more: Any) -> LearnerSettings:
    return LearnerSettings(normalize_std=False, **kind, **more)


@st.composite
def groups(draw: st.DrawFn, name: str = "a") -> Group:
    """Trajectories of a task: a first page, then rounds of attempts that end with the first improvement."""
    trajectories = []
    for sibling in range(draw(st.integers(1, 4))):
        best = draw(CENTS)
        turns = [played_round(0, [best], best=-1.0)]
        for number in range(1, draw(st.integers(0, 2)) + 1):
            turns.append(played_round(number, draw(st.lists(CENTS, min_size=1, max_size=3)), best=best))
            if turns[-1].accepted is None:
                break
            best = turns[-1].accepted.total
        trajectories.append(Trajectory(id=f"{name}/{sibling}", task=group(name).task, turns=tuple(turns)))
    return Group(task=group(name).task, trajectories=tuple(trajectories))


def richer(played: Group, bonus: float) -> Group:
    """The same group with a bonus for every page."""

    def paid(one: Any) -> Any:
        return one if one.reward is None else replace(one, reward=replace(one.reward, total=one.total + bonus))

    return replace(
        played,
        trajectories=tuple(
            replace(t, turns=tuple(replace(turn, attempts=tuple(map(paid, turn.attempts))) for turn in t.turns))
            for t in played.trajectories
        ),
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
@quick
@given(ours=groups("a"), other=groups("b"), another=groups("b"))
def test_advantage_never_depends_on_rewards_of_another_task(
    kind: dict[str, Any], ours: Group, other: Group, another: Group
) -> None:
    batches = [build([near, ours], settings(kind), seed=0) for near in (other, another)]
    learnt = [[sample for sample in batch.samples if sample.group == "a"] for batch in batches]
    assert learnt[0] == learnt[1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
@quick
@given(played=groups(), bonus=st.integers(1, 48).map(lambda cents: cents / 128))
def test_constant_bonus_for_every_page_changes_no_advantage(kind: dict[str, Any], played: Group, bonus: float) -> None:
    once, again = (credited(one, settings(kind)) for one in (played, richer(played, bonus)))
    assert [value for _, value in again] == pytest.approx([value for _, value in once], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
@quick
@given(reward=CENTS, siblings=st.integers(1, 4), attempts=st.integers(0, 3))
def test_flat_group_has_no_samples(kind: dict[str, Any], reward: float, siblings: int, attempts: int) -> None:
    turns = [played_round(0, [reward], best=-1.0)]
    turns += [played_round(1, [reward] * attempts, best=reward)] if attempts else []
    task = group("a").task
    played = tuple(Trajectory(id=f"a/{i}", task=task, turns=tuple(turns)) for i in range(siblings))
    batch = build([Group(task=task, trajectories=played)], settings(kind), seed=0)
    assert (batch.samples, batch.groups, batch.flat_groups) == ((), 0, 1)


def test_siblings_credit_compares_all_attempts_of_a_round() -> None:
    repaired = (played_round(0, [0.25], best=-1.0), played_round(1, [0.0, 0.25, 0.75, None], best=0.25))
    right = (played_round(0, [0.5], best=-1.0), played_round(1, [0.25], best=0.5))
    found = credited(group("hero", repaired, right), settings({"credit": "siblings"}))
    wanted = [(0, 0.25, -0.125), (0, 0.5, 0.125), (1, 0.0, -1 / 3), (1, 0.25, -1 / 12), (1, 0.75, 5 / 12)]
    assert [(one.round, one.total) for one, _ in found] == [(number, total) for number, total, _ in wanted]
    assert [value for _, value in found] == pytest.approx([value for _, _, value in wanted])


def test_earlier_baseline_uses_the_revised_page_and_earlier_attempts() -> None:
    played = (
        played_round(0, [0.25], best=-1.0),
        played_round(1, [0.0, 0.5], best=0.25),
        played_round(2, [0.75], best=0.5),
    )
    found = credited(group("hero", played), settings({"credit": "siblings", "baseline": "earlier"}))
    assert [value for _, value in found] == pytest.approx([-0.25, 0.5 - 0.125, 0.25])


def test_leave_one_out_baseline_uses_the_other_siblings() -> None:
    played = group("hero", [attempt(0, 0.0)], [attempt(0, 0.25)], [attempt(0, 0.75)])
    found = credited(played, settings({"baseline": "leave_one_out"}))
    assert [value for _, value in found] == pytest.approx([-0.5, 0.25 - 0.375, 0.75 - 0.125])


def test_length_penalty_applies_in_every_credit() -> None:
    """Two tokens with a limit of three; one of them is in the penalised range of two, which costs one half."""
    soft = {"overlong": "soft", "length_limit": 3, "overlong_tokens": 2}
    short, long = attempt(0, 0.5), attempt(0, 0.75)
    short = replace(short, completion=replace(short.completion, token_ids=(1,), logprobs=(-0.5,)))
    for credit in ("outcome", "turn", "page", "siblings"):
        found = credited(group("hero", [short], [long]), settings({"credit": credit}, **soft))
        assert [value for _, value in found] == pytest.approx([0.125, -0.125]), credit


def test_equal_best_pages_have_signal_in_turn_page_and_siblings_credit() -> None:
    """One trajectory was good at once, the other after two repairs; their outcomes are equal."""
    repaired = (played_round(0, [0.25], best=-1.0), played_round(1, [0.0, 0.75], best=0.25))
    right = (played_round(0, [0.75], best=-1.0),)
    played = group("hero", repaired, right)
    found = {
        credit: has_signal(played, settings({"credit": credit})) for credit in ("outcome", "turn", "page", "siblings")
    }
    assert found == {"outcome": False, "turn": True, "page": True, "siblings": True}
    alike = group("hero", [attempt(0, 0.5)], [attempt(0, 0.5)])
    assert not any(has_signal(alike, settings({"credit": credit})) for credit in found)
