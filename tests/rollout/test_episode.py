"""Tests of the episode on paper parts: acceptance, verdicts, comparisons, and machine faults."""

from dataclasses import replace
from typing import Any

import pytest
from doubles import NoisyCritic, PaperCritic, PaperPolicy, PaperRenderer, services, task
from hypothesis import given
from hypothesis import strategies as st

from rollout.acceptance import violations
from rollout.episode import play
from rollout.errors import BrowserFault, CriticFault, PromptTooLong, TaskFileError
from rollout.records import Comparison, Completion, Request, Trajectory
from rollout.settings import EpisodeSettings

SETTINGS = EpisodeSettings(rounds=3, attempts=6, speculate=2, max_tokens=64)
EDITS = SETTINGS.model_copy(update={"revision": "edits"})


@given(st.integers(0, 10_000))
async def test_accepted_rewards_rise_strictly_for_any_critic(seed: int) -> None:
    trajectory = await play(task(), services(critic=NoisyCritic(seed)), SETTINGS, seed=seed)
    assert violations([attempt.total for attempt in trajectory.accepted]) == 0
    assert trajectory.reward == max(a.total for turn in trajectory.turns for a in turn.attempts if a.reward)


@given(st.integers(0, 10_000))
async def test_the_first_improvement_in_sampling_order_is_accepted(seed: int) -> None:
    trajectory = await play(task(), services(critic=NoisyCritic(seed)), SETTINGS, seed=seed)
    for before, turn in zip(trajectory.turns, trajectory.turns[1:], strict=False):
        assert before.accepted is not None
        verdicts = [attempt.verdict for attempt in turn.attempts]
        if turn.accepted is None:
            assert verdicts == ["not_better"] * SETTINGS.attempts
            continue
        place = verdicts.index("accepted")
        assert verdicts == ["not_better"] * place + ["accepted"] + ["unused"] * (len(verdicts) - place - 1)
        assert all(a.total <= before.accepted.total for a in turn.attempts[:place])


async def test_page_that_throws_earns_zero_and_is_revised_with_its_error() -> None:
    policy = PaperPolicy([100.0, 0, 0, 0, 0])
    trajectory = await play(task(), services(policy=policy), SETTINGS, seed=1)
    assert trajectory.reward == 0.0
    assert [turn.round for turn in trajectory.turns] == [0, 1]
    assert "ReferenceError: paper" in policy.requests[1].messages[-1].content


async def test_machine_fault_is_retried_and_counted() -> None:
    settings = SETTINGS.model_copy(update={"retries": 2, "rounds": 0})
    trajectory = await play(task(), services(renderer=PaperRenderer(faults=1)), settings, seed=1)
    assert trajectory.retries == 1


async def test_persistent_machine_fault_is_raised_and_never_scored() -> None:
    settings = SETTINGS.model_copy(update={"retries": 1, "rounds": 0})
    with pytest.raises(BrowserFault):
        await play(
            task(), services(renderer=PaperRenderer(faults=9), policy=PaperPolicy([0, 0, 0, 0, 9.0])), settings, seed=1
        )


async def test_too_long_revision_prompt_ends_the_episode_with_its_pages_so_far() -> None:
    trajectory = await play(task(), services(policy=PaperPolicy(most_messages=2)), SETTINGS, seed=1)
    assert trajectory.context_full
    assert len(trajectory.turns) == 1
    assert trajectory.accepted[0].page == (await play(task(), services(), SETTINGS, seed=1)).accepted[0].page
    assert not (await play(task(), services(), SETTINGS, seed=1)).context_full


async def test_too_long_first_prompt_is_raised_as_an_error() -> None:
    with pytest.raises(PromptTooLong, match="2 messages, wanted 1 at most"):
        await play(task(), services(policy=PaperPolicy(most_messages=1)), SETTINGS, seed=1)


async def test_invalid_reference_page_is_a_task_file_error() -> None:
    bad = task(reference_html="<p>level 0</p>")
    with pytest.raises(TaskFileError, match="task t: its reference page must render, got 'exception'"):
        await play(bad, services(policy=PaperPolicy([0, 0, 0, 0, 99.0])), SETTINGS, seed=1)


async def test_the_same_seed_plays_the_same_episode() -> None:
    first = await play(task(), services(), SETTINGS, seed=5, sibling=1)
    again = await play(task(), services(), SETTINGS, seed=5, sibling=1)
    other = await play(task(), services(), SETTINGS, seed=5, sibling=2)
    texts = [[a.completion.text for turn in t.turns for a in turn.attempts] for t in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]


PAIRWISE = SETTINGS.model_copy(update={"pairwise": True})


@given(st.integers(0, 10_000))
async def test_pairwise_revision_must_earn_more_and_win_both_comparisons(seed: int) -> None:
    trajectory = await play(task(), services(critic=NoisyCritic(seed)), PAIRWISE, seed=seed)
    assert violations([attempt.total for attempt in trajectory.accepted]) == 0
    for before, turn in zip(trajectory.turns, trajectory.turns[1:], strict=False):
        best = before.accepted
        assert best is not None
        for attempt in turn.attempts:
            if attempt.verdict == "unused":
                continue
            earned, shown = attempt.total > best.total, attempt.comparison
            assert (shown is not None) == (earned and best.outcome == "ok"), "only who may win is compared"
            if shown is None:
                assert attempt.verdict == ("accepted" if earned else "not_better")
            else:
                assert attempt.verdict == ("accepted" if shown.answers == ("new", "new") else "not_preferred")
                assert attempt.seconds["judge"] >= 0.0


async def test_pairwise_rejects_pages_that_a_noisy_score_would_accept() -> None:
    """Scores are random, but comparisons are correct: no accepted page is worse than the one before."""

    class Split(PaperCritic):
        judge = NoisyCritic(7).judge  # type: ignore[assignment]

    refused = 0
    for seed in range(20):
        trajectory = await play(task(), services(critic=Split()), PAIRWISE, seed=seed)
        levels = [attempt.page.html for attempt in trajectory.accepted]
        assert levels == sorted(levels, key=str)
        refused += sum(a.verdict == "not_preferred" for turn in trajectory.turns for a in turn.attempts)
    assert refused


async def test_fault_in_a_comparison_is_retried_or_raised_and_never_a_verdict() -> None:
    class Mute(PaperCritic):
        lost = 0

        async def compare(self, *shown: Any) -> Comparison:
            self.lost += 1
            if self.lost <= self.faults:
                raise CriticFault("no comparison")
            return Comparison(answers=("new", "new"), judge="mute")

        def _fail(self) -> None: ...

    rising = PAIRWISE.model_copy(update={"retries": 1})
    whole = await play(task(), services(critic=Mute()), rising, seed=3)
    assert len(whole.accepted) > 1
    survived = await play(task(), services(critic=Mute(faults=1)), rising, seed=3)
    assert survived.retries == 1
    assert verdicts(survived) == verdicts(whole)
    with pytest.raises(CriticFault, match="no comparison"):
        await play(task(), services(critic=Mute(faults=2)), rising, seed=3)


def verdicts(trajectory: Trajectory) -> list[str]:
    return [attempt.verdict for turn in trajectory.turns for attempt in turn.attempts]


async def test_pairwise_requires_forced_optimization() -> None:
    with pytest.raises(ValueError, match="pairwise is for forced = true"):
        EpisodeSettings(pairwise=True, forced=False)


async def test_without_forced_optimization_every_revision_is_accepted() -> None:
    settings = SETTINGS.model_copy(update={"forced": False})
    trajectory = await play(task(), services(critic=NoisyCritic(3)), settings, seed=3)
    assert [turn.accepted is not None for turn in trajectory.turns] == [True] * len(trajectory.turns)


@given(st.integers(0, 10_000))
async def test_edits_give_the_same_pages_and_rewards_as_whole_pages(seed: int) -> None:
    pages = await play(task(), services(critic=NoisyCritic(seed)), SETTINGS, seed=seed)
    edits = await play(task(), services(critic=NoisyCritic(seed)), EDITS, seed=seed)
    for whole, edited in zip(pages.turns, edits.turns, strict=True):
        assert [(a.page, a.reward, a.verdict) for a in whole.attempts] == [
            (a.page, a.reward, a.verdict) for a in edited.attempts
        ]
        assert all(("SEARCH" in a.completion.text) == (a.round > 0) for a in edited.attempts)


class Careless(PaperPolicy):
    """Writes edits of lines that the page does not have."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        written = await super().complete(request)
        return tuple(replace(one, text=one.text.replace("SEARCH\n", "SEARCH\nunknown")) for one in written)


async def test_edits_that_do_not_apply_earn_nothing_and_say_why() -> None:
    trajectory = await play(task(), services(policy=Careless()), EDITS, seed=1)
    revisions = trajectory.turns[1].attempts
    assert [attempt.total for attempt in revisions] == [0.0] * EDITS.attempts
    assert revisions[0].outcome == "no_page"
    assert 'which has no line "unknown<p>level' in revisions[0].feedback[0]


async def test_whole_page_is_requested_while_there_is_none_to_edit() -> None:
    class Silent(PaperPolicy):
        async def complete(self, request: Request) -> tuple[Completion, ...]:
            written = await super().complete(request)
            return written if len(request.messages) > 2 else tuple(replace(one, text="no page") for one in written)

    policy = Silent([0, 0, 0, 0, 9.0])
    trajectory = await play(task(), services(policy=policy), EDITS, seed=1)
    assert trajectory.reward == 1.0
    assert "```html" in trajectory.turns[1].attempts[0].completion.text
