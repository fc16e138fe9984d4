"""Tests of calls that are repeated once, and of streams that go on after a repeated call."""

from collections.abc import AsyncIterator

import pytest
from doubles import PaperCritic, PaperRenderer, task
from writing_policy import WritingPolicy

from cluster.serving.retried import Restart, RetriedCritic, RetriedPolicy, RetriedRenderer, without_prefix
from rollout.errors import BrowserFault, EngineFault
from rollout.prompts import first
from rollout.records import Completion, Page, Request

REQUEST = Request(messages=first(task()), max_tokens=1000, seed=3)


async def stream(pieces: list[str]) -> AsyncIterator[str | Completion]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("pieces", "sent", "wanted"),
    [
        (["ab", "cd"], "", ["ab", "cd"]),
        (["ab", "cd", "e"], "abc", ["d", "e"]),
        (["abc", "d"], "abc", ["d"]),
        (["a", "b", "c"], "abc", []),
        (["ab", "xy", "z"], "abc", [Restart(), "abxy", "z"]),
        (["x"], "abc", [Restart(), "x"]),
    ],
)
async def test_a_repeated_text_goes_on_after_its_beginning(pieces: list[str], sent: str, wanted: list[object]) -> None:
    assert [piece async for piece in without_prefix(stream(pieces), sent)] == wanted


async def test_a_shorter_repeated_text_restarts() -> None:
    async def short() -> AsyncIterator[str | Completion]:
        yield "ab"
        (completion,) = await WritingPolicy().complete(REQUEST)
        yield completion

    found = [piece async for piece in without_prefix(short(), "abc")]
    assert found[:2] == [Restart(), "ab"]
    assert isinstance(found[2], Completion)


async def test_a_stream_survives_one_fault_without_a_gap() -> None:
    policy = WritingPolicy(faults=1)
    pieces = [piece async for piece in RetriedPolicy(policy).stream(REQUEST)]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == policy.text(REQUEST)
    assert isinstance(pieces[-1], Completion)
    assert len(policy.requests) == 2


async def test_a_second_fault_propagates() -> None:
    with pytest.raises(EngineFault):
        await RetriedPolicy(WritingPolicy(faults=2)).complete(REQUEST)
    with pytest.raises(EngineFault):
        _ = [piece async for piece in RetriedPolicy(WritingPolicy(faults=2)).stream(REQUEST)]
    with pytest.raises(BrowserFault):
        await RetriedRenderer(PaperRenderer(faults=2)).render(Page(html="level 1"))


async def test_browser_and_critic_are_asked_twice() -> None:
    page = Page(html="<p>level 2</p>")
    render = await RetriedRenderer(PaperRenderer(faults=1)).render(page)
    assert render.valid
    critic = RetriedCritic(PaperCritic(faults=1))
    assert (await critic.judge(task(), page, render, None)).score == 0.5
    assert (await critic.compare(task(), (page, render), (page, render), None)).answers == ("old", "old")
