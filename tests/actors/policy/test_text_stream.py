"""Tests of the pieces of a text that grows while a completion is generated."""

import asyncio

import pytest

from actors.policy.text_stream import TextStream
from rollout.errors import EngineFault
from rollout.records import Completion


def completion(text: str) -> Completion:
    return Completion(prompt_ids=(1,), token_ids=(2,), logprobs=(0.0,), text=text, finish="stop", versions=())


async def pieces_of(steps: list[str], text: str, pause_s: float) -> list[str | Completion]:
    stream = TextStream()

    async def work() -> Completion:
        for step in steps:
            stream.update(step)
            await asyncio.sleep(pause_s)
        return completion(text)

    return [piece async for piece in stream.pieces(work())]


@pytest.mark.parametrize("pause_s", [0.0, 0.002, 0.06])
async def test_pieces_join_to_the_text_and_end_with_the_completion(pause_s: float) -> None:
    text = "abcdefgh"
    *pieces, last = await pieces_of([text[:end] for end in range(1, 8)], text, pause_s)
    assert "".join(map(str, pieces)) == text
    assert last == completion(text)
    assert len(pieces) <= 9


async def test_text_that_grows_while_a_piece_is_read_is_not_lost() -> None:
    stream = TextStream()

    async def work() -> Completion:
        for end in range(1, 8):
            stream.update("abcdefgh"[:end])
            await asyncio.sleep(0.01)
        return completion("abcdefgh")

    pieces = []
    async for piece in stream.pieces(work()):
        pieces.append(piece)
        await asyncio.sleep(0.025)
    assert "".join(map(str, pieces[:-1])) == "abcdefgh"


async def test_a_text_without_growth_is_one_piece() -> None:
    assert await pieces_of([], "abc", 0.0) == ["abc", completion("abc")]
    assert await pieces_of([], "", 0.0) == [completion("")]


async def test_a_fault_propagates_after_the_text_before_it() -> None:
    stream = TextStream()

    async def work() -> Completion:
        stream.update("ab")
        await asyncio.sleep(0.01)
        raise EngineFault("lost")

    pieces = stream.pieces(work())
    assert await anext(pieces) == "ab"
    with pytest.raises(EngineFault):
        await anext(pieces)


async def test_a_closed_stream_cancels_its_completion() -> None:
    stream, cancelled = TextStream(), asyncio.Event()

    async def work() -> Completion:
        stream.update("ab")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    pieces = stream.pieces(work())
    assert await anext(pieces) == "ab"
    await pieces.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        await cancelled.wait()
