"""The episode, on paper: what is accepted, what is kept, what becomes of faults."""

import pytest
from doubles import NoisyCritic, PaperPolicy, PaperRenderer, cast, task
from hypothesis import given
from hypothesis import strategies as st

from rollout.acceptance import violations
from rollout.episode import play
from rollout.errors import BrowserFault, TaskFileError
from rollout.settings import EpisodeSettings

SETTINGS = EpisodeSettings(rounds=3, attempts=6, speculate=2, max_tokens=64)


@given(st.integers(0, 10_000))
async def test_accepted_rewards_rise_strictly_for_any_critic(seed: int) -> None:
    trajectory = await play(task(), cast(critic=NoisyCritic(seed)), SETTINGS, seed=seed)
    assert violations([attempt.total for attempt in trajectory.accepted]) == 0
    assert trajectory.reward == max(a.total for turn in trajectory.turns for a in turn.attempts if a.reward)


@given(st.integers(0, 10_000))
async def test_the_first_improvement_in_sampling_order_is_accepted(seed: int) -> None:
    trajectory = await play(task(), cast(critic=NoisyCritic(seed)), SETTINGS, seed=seed)
    for before, turn in zip(trajectory.turns, trajectory.turns[1:], strict=False):
        assert before.accepted is not None
        verdicts = [attempt.verdict for attempt in turn.attempts]
        if turn.accepted is None:
            assert verdicts == ["not_better"] * SETTINGS.attempts
            continue
        place = verdicts.index("accepted")
        assert verdicts == ["not_better"] * place + ["accepted"] + ["unused"] * (len(verdicts) - place - 1)
        assert all(a.total <= before.accepted.total for a in turn.attempts[:place])


async def test_a_page_that_throws_earns_zero_and_is_revised_with_its_own_error() -> None:
    policy = PaperPolicy([100.0, 0, 0, 0, 0])
    trajectory = await play(task(), cast(policy=policy), SETTINGS, seed=1)
    assert trajectory.reward == 0.0
    assert [turn.round for turn in trajectory.turns] == [0, 1]
    assert "ReferenceError: paper" in policy.requests[1].messages[-1].content


async def test_a_machine_fault_is_retried_and_counted() -> None:
    settings = SETTINGS.model_copy(update={"retries": 2, "rounds": 0})
    trajectory = await play(task(), cast(renderer=PaperRenderer(faults=1)), settings, seed=1)
    assert trajectory.retries == 1


async def test_a_machine_fault_that_lasts_is_raised_and_never_scored() -> None:
    settings = SETTINGS.model_copy(update={"retries": 1, "rounds": 0})
    with pytest.raises(BrowserFault):
        await play(
            task(), cast(renderer=PaperRenderer(faults=9), policy=PaperPolicy([0, 0, 0, 0, 9.0])), settings, seed=1
        )


async def test_a_reference_that_does_not_render_is_the_task_files_fault() -> None:
    bad = task(reference_html="<p>level 0</p>")
    with pytest.raises(TaskFileError, match="task t: its reference page must render, but it is 'exception'"):
        await play(bad, cast(policy=PaperPolicy([0, 0, 0, 0, 99.0])), SETTINGS, seed=1)


async def test_the_same_seed_plays_the_same_episode() -> None:
    first = await play(task(), cast(), SETTINGS, seed=5, sibling=1)
    again = await play(task(), cast(), SETTINGS, seed=5, sibling=1)
    other = await play(task(), cast(), SETTINGS, seed=5, sibling=2)
    texts = [[a.completion.text for turn in t.turns for a in turn.attempts] for t in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]


async def test_without_forced_optimization_every_revision_is_accepted() -> None:
    settings = SETTINGS.model_copy(update={"forced": False})
    trajectory = await play(task(), cast(critic=NoisyCritic(3)), settings, seed=3)
    assert [turn.accepted is not None for turn in trajectory.turns] == [True] * len(trajectory.turns)
