"""Tests of the learner's batch: how trajectories become samples, and how samples are packed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_groups import attempt, group

from learner.batch import build, pack
from learner.settings import LearnerSettings
from reward.designs import tasks
from rollout.records import Comparison, Group, Preference

SETTINGS = LearnerSettings(normalize_std=False)


def test_every_accepted_turn_is_a_sample_with_the_engine_token_ids() -> None:
    played = group("hero", [attempt(0, 0.25), attempt(1, 0.75)], [attempt(0, 0.25), attempt(1, 0.125, accepted=False)])
    batch = build([played], SETTINGS, seed=0)
    assert [sample.prompt_ids for sample in batch.samples] == [(1, 0), (1, 1), (1, 0)]
    assert [sample.token_ids for sample in batch.samples] == [(25, 7), (75, 7), (25, 7)]
    assert [sample.advantage for sample in batch.samples] == [0.25, 0.25, -0.25]
    assert all(sample.logprobs == (-0.5, -0.25) and sample.group == "hero" for sample in batch.samples)


def test_turn_credit_gives_each_accepted_turn_its_own_advantage() -> None:
    repaired = [attempt(0, 0.0), attempt(1, 0.75)]
    right, stuck = [attempt(0, 0.5), attempt(1, 0.25, accepted=False)], [attempt(0, 0.25)]
    batch = build([group("hero", repaired, right, stuck)], SETTINGS.model_copy(update={"credit": "turn"}), seed=0)
    assert [sample.token_ids[0] for sample in batch.samples] == [0, 75, 50, 25]
    assert [sample.advantage for sample in batch.samples] == [-0.25, 0.375, 0.25, 0.0]


def test_page_credit_compares_an_accepted_page_with_all_pages_of_its_round() -> None:
    repaired, right = [attempt(0, 0.0), attempt(1, 0.5)], [attempt(0, 0.75), attempt(1, 0.25, accepted=False)]
    batch = build([group("hero", repaired, right)], SETTINGS.model_copy(update={"credit": "page"}), seed=0)
    assert [sample.token_ids[0] for sample in batch.samples] == [0, 75, 50]
    assert [sample.advantage for sample in batch.samples] == [-0.375, 0.375, 0.125]


def test_negative_weight_scales_negative_advantages() -> None:
    played = group("hero", [attempt(0, 0.25)], [attempt(0, 0.75)])
    batch = build([played], SETTINGS.model_copy(update={"negative_weight": 0.5}), seed=0)
    assert [sample.advantage for sample in batch.samples] == [-0.125, 0.25]


def test_flat_groups_are_dropped_and_counted_but_keep_their_lessons() -> None:
    flat = group("flat", [attempt(0, 0.5, feedback="Too blue.")], [attempt(0, 0.5)])
    lost = group("lost")
    telling = group("telling", [attempt(0, 0.5)], [attempt(0, 0.75, finish="length")])
    batch = build([flat, telling, lost], SETTINGS, seed=0)
    assert (batch.groups, batch.flat_groups) == (1, 2)
    assert [sample.truncated for sample in batch.samples] == [False, True]
    assert [lesson.target for lesson in batch.lessons] == ["<feedback>\n- Too blue.\n</feedback>"]
    assert "<p>0.5</p>" in batch.lessons[0].messages[-2].content


def test_non_rising_rewards_raise_an_error_if_optimization_is_forced() -> None:
    fallen = group("fallen", [attempt(0, 0.5), attempt(1, 0.5)], [attempt(0, 0.25)])
    with pytest.raises(ValueError, match=r"'fallen/0' must rise strictly, got 0\.500000, 0\.500000"):
        build([fallen], SETTINGS, seed=0)
    assert len(build([fallen], SETTINGS, seed=0, forced=False).samples) == 3


def test_accepted_page_that_lost_its_comparison_raises_an_error() -> None:
    def compared(first: Preference, second: Preference) -> Group:
        revised = replace(attempt(1, 0.75), comparison=Comparison(answers=(first, second), judge="test"))
        return group("compared", [attempt(0, 0.5), revised], [attempt(0, 0.25)])

    assert len(build([compared("new", "new")], SETTINGS, seed=0).samples) == 3
    with pytest.raises(ValueError, match="round 1 of trajectory 'compared/0' was accepted, .* says new, tie"):
        build([compared("new", "tie")], SETTINGS, seed=0)


def test_lessons_are_limited_and_chosen_by_seed() -> None:
    groups = [group(f"g{i}", [attempt(0, 0.5, feedback=f"Say {i}.")], [attempt(0, 0.25)]) for i in range(20)]
    few = SETTINGS.model_copy(update={"distill_lessons": 5})
    chosen = build(groups, few, seed=1).lessons
    assert len(chosen) == 5
    assert chosen == build(groups, few, seed=1).lessons
    assert chosen != build(groups, few, seed=2).lessons
    assert not build(groups, SETTINGS.model_copy(update={"distill_weight": 0.0}), seed=1).lessons


def test_hindsight_targets_are_accepted_revisions_with_engine_token_ids() -> None:
    repaired = [attempt(0, 0.25), attempt(1, 0.5), attempt(2, 0.75)]
    stuck, cut = (
        [attempt(0, 0.5), attempt(1, 0.25, accepted=False)],
        [attempt(0, 0.0), attempt(1, 0.5, finish="length")],
    )
    batch = build(
        [group("hero", repaired, stuck, cut)], SETTINGS.model_copy(update={"distill_form": "hindsight"}), seed=0
    )
    assert batch.lessons == ()
    assert [(one.prompt_ids, one.shown_ids, one.token_ids) for one in batch.hindsights] == [
        ((1, 0), (1, 1), (50, 7)),
        ((1, 0), (1, 2), (75, 7)),
    ]


def test_empty_groups_give_an_empty_batch() -> None:
    assert replace(build([], SETTINGS, seed=0)) == replace(build([group("empty")], SETTINGS, seed=0), flat_groups=0)


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(100, 400), st.integers(1, 4))
def test_packing_keeps_every_sample_once_within_the_budget(lengths: list[int], budget: int, multiple: int) -> None:
    rows = pack(lengths, budget, multiple)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= budget for row in rows)
    assert len(rows) % multiple == 0
    assert rows == pack(lengths, budget, multiple)


def lengths_of_pages(num: int) -> list[int]:
    """Token counts of first pages and revisions in playing order: built-in briefs and pages, 3 letters per token."""
    briefs = [(len(task.brief), len(task.reference_html or "")) for task in tasks(num // 2, seed=4, split="train")]
    return [size // 3 for brief, page in briefs for size in (brief + page, brief + 2 * page)]


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("budget", [4096, 16384])
def test_packed_pages_waste_few_tokens_and_little_rank_time(budget: int, ranks: int) -> None:
    lengths = lengths_of_pages(512)
    assert max(lengths) > 2 * min(lengths)
    rows = pack(lengths, budget, ranks)
    loads = [sum(lengths[index] for index in row) for row in rows]
    # Wasted computation: filler rows that only keep ranks in step; there are none if samples outnumber rows.
    assert sum(not load for load in loads) == 0
    # Waiting: in each micro-batch, all ranks wait for the fullest row.
    slowest = [max(loads[start : start + ranks]) for start in range(0, len(rows), ranks)]
    assert 1 - sum(lengths) / (ranks * sum(slowest)) < 0.05
    shares = [sum(loads[rank::ranks]) for rank in range(ranks)]
    assert max(shares) < 1.05 * sum(lengths) / ranks
    # Rows far below the token budget would waste forward passes.
    assert sum(lengths) / (len(rows) * budget) > 0.8
    padded = sum(max(lengths[start : start + 8]) * 8 for start in range(0, len(lengths), 8))
    assert 1 - sum(lengths) / padded > 0.2


def test_sample_longer_than_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample has 300 tokens, but learner.token_budget is 256"):
        pack([10, 300], 256)
