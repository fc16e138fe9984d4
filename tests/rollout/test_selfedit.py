"""Tests of self-edit without a critic, on paper parts."""

from dataclasses import replace

from doubles import PaperPolicy, PaperRenderer, task

from rollout.parsing import parse_page
from rollout.prompts import EDITS, REVIEW, answer
from rollout.records import Page
from rollout.selfedit import Change, review_request, self_edit, write_drafts
from rollout.settings import EpisodeSettings

SETTINGS = EpisodeSettings(max_tokens=64)


async def test_self_edit_needs_no_critic_and_counts_tokens_per_round() -> None:
    drafts = await self_edit(task(), PaperPolicy(), PaperRenderer(), SETTINGS, rounds=3, seed=1)
    assert [draft.round for draft in drafts] == [0, 1, 2, 3]
    assert [draft.tokens for draft in drafts] == [1, 3, 5, 7]
    assert drafts[1].feedback == ("The level should be higher.",)


async def test_page_that_fills_the_context_is_repeated_in_the_remaining_rounds() -> None:
    drafts = await self_edit(task(), PaperPolicy(most_messages=2), PaperRenderer(), SETTINGS, rounds=2, seed=1)
    assert [draft.round for draft in drafts] == [0, 1, 2]
    assert [draft.kept for draft in drafts] == [True, False, False]
    assert {draft.page for draft in drafts} == {drafts[0].page}


async def test_review_request_equals_that_of_self_edit() -> None:
    policy = PaperPolicy()
    await self_edit(task(), policy, PaperRenderer(), SETTINGS, rounds=1, seed=1)
    (asked,) = [request for request in policy.requests if request.messages[-1].content == REVIEW]
    page = parse_page(answer(asked.messages[-2].content.split("```html\n")[1].split("\n```")[0]))
    assert review_request(task(), page, SETTINGS, seed=asked.seed) == asked


async def test_invalid_revision_does_not_replace_a_valid_page() -> None:
    for seed in range(40):
        drafts = await self_edit(task(), PaperPolicy([2.0, 0, 0, 0, 0]), PaperRenderer(), SETTINGS, rounds=3, seed=seed)
        valid = [draft.valid for draft in drafts]
        assert valid == sorted(valid), "once valid, always valid"
        for before, after in zip(drafts, drafts[1:], strict=False):
            assert after.kept or after.page == before.page


async def test_self_edit_writes_edits_and_drafts_the_same_pages() -> None:
    edits = SETTINGS.model_copy(update={"revision": "edits"})
    policy = PaperPolicy()
    edited = await self_edit(task(), policy, PaperRenderer(), edits, rounds=3, seed=1)
    whole = await self_edit(task(), PaperPolicy(), PaperRenderer(), SETTINGS, rounds=3, seed=1)
    assert [draft.page for draft in edited] == [draft.page for draft in whole]
    assert sum(EDITS in request.messages[0].content for request in policy.requests) == 3


async def test_a_second_brief_revises_the_page_and_remains_in_later_rounds() -> None:
    policy = PaperPolicy()
    change = Change(page=Page(html="<p>level 1</p>"), brief="Make it red.")
    brief = replace(task(), brief="A page.\nMake it red.")
    written = write_drafts(brief, policy, PaperRenderer(), SETTINGS, rounds=1, seed=1, change=change)
    drafts = [draft async for draft in written]
    assert [(draft.round, draft.feedback) for draft in drafts] == [(0, ()), (1, ("The level should be higher.",))]
    first = policy.requests[0].messages
    assert first[1].content == "A page.\nMake it red."
    assert "<p>level 1</p>" in first[2].content
    assert first[3].content == "<feedback>\n- Make it red.\n</feedback>"
    assert all(request.messages[1] == first[1] for request in policy.requests)
