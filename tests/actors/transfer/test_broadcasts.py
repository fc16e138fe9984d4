"""Tests of weight broadcasts from one learner to two real engines, in order: syncs, and a failure of each party.

The transport is `gloo`; sender, client, source and both ends of vLLM's protocol are those of `nccl`.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psutil
import pytest
import pytest_asyncio
import torch
from tiny_model import tiny_model
from tiny_policy import CANARY, VLLM_WARNINGS, logprobs_of, moved

from actors.policy.engine import VLLMPolicy
from actors.settings import PolicySettings
from rollout.errors import EngineFault
from rollout.records import Message, Request

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"), *VLLM_WARNINGS]
ASK = Request(messages=(Message(role="user", content="a page"),), max_tokens=8, seed=5)


class EngineBroadcast:
    """Calls the engines in this process from the threads of a sender."""

    def __init__(self, engines: list[VLLMPolicy], loop: asyncio.AbstractEventLoop) -> None:
        self.engines, self.loop, self.num = engines, loop, len(engines)
        self.before: Callable[[str], None] = lambda method: None

    def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
        self.before(method)

        async def ask() -> None:
            await asyncio.gather(*(getattr(e, method)(*its) for e, its in zip(self.engines, arguments, strict=True)))

        asyncio.run_coroutine_threadsafe(ask(), self.loop).result()


class World:
    """A learner that has only weights, and its engines."""

    def __init__(self, model: Any, engines: list[VLLMPolicy]) -> None:
        from actors.transfer.sender import Source

        self.model, self.engines = model, engines
        self.line = EngineBroadcast(engines, asyncio.get_running_loop())
        self.source = Source(self.tensors)
        self.breaks_at = self.skips = -1
        self.sender: Any = None

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for place, (name, parameter) in enumerate(self.model.named_parameters()):
            if place == self.breaks_at:
                raise RuntimeError("the learner dies")
            if place != self.skips:
                yield name, parameter.detach()

    async def send(self, version: int) -> int:
        """Send as a learner rank does: with one sender until it fails, then with a new one."""
        from actors.transfer.sender import Sender

        self.sender = self.sender or Sender(
            "gloo", self.source, self.line, rank=0, host="127.0.0.1", workers=1, patience_s=40
        )
        sender, self.sender = self.sender, None
        size = int(await asyncio.to_thread(sender.send, version))
        self.sender = sender
        return size

    async def prove(self, version: int) -> None:
        wanted = tuple(logprobs_of(self.model, CANARY))
        for engine in self.engines:
            assert await engine.prove(version, CANARY, wanted, 1e-3) < 1e-3
            (answer,) = await engine.complete(ASK)
            assert [span.version for span in answer.versions] == [version]

    async def refused(self, why: str) -> None:
        for engine in self.engines:
            with pytest.raises(EngineFault, match=why):
                await engine.complete(ASK)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("policy")
    model = tiny_model(folder)
    settings = PolicySettings(kv_cache_gib=0.05, transfer="gloo", call_timeout_s=60)
    made = World(model, [VLLMPolicy(str(folder), settings, seed=7, rank=rank, follows=True) for rank in range(2)])
    await asyncio.gather(*(engine.start() for engine in made.engines))
    yield made
    await asyncio.gather(*(engine.stop() for engine in made.engines))
    vars(made).clear()
    for _ in range(3):  # so that vLLM's destructor warnings appear here, after its tasks ended
        await asyncio.sleep(0.05)
        gc.collect()


async def test_following_engines_serve_no_request_before_their_first_sync(world: World) -> None:
    await world.refused("has not been synced yet")
    moved(world.model, 1)
    assert await world.send(1) == sum(parameter.nbytes for parameter in world.model.parameters())
    await world.prove(1)


async def test_later_syncs_reuse_the_group_and_completions_continue(world: World) -> None:
    running = asyncio.create_task(world.engines[1].complete(Request(messages=ASK.messages, max_tokens=400, seed=1)))
    await asyncio.sleep(0.1)
    sender = world.sender
    moved(world.model, 2)
    await world.send(2)
    await world.prove(2)
    (answer,) = await running
    assert {span.version for span in answer.versions} <= {1, 2}
    assert world.sender is sender


async def test_sync_after_a_learner_failure_connects_anew(world: World) -> None:
    moved(world.model, 3)
    world.breaks_at = 5
    with pytest.raises(EngineFault, match="the sync of version 3 failed: the learner dies"):
        await world.send(3)
    world.breaks_at = -1
    await world.send(3)
    await world.prove(3)


async def test_incomplete_model_is_refused_by_all_engines(world: World) -> None:
    from actors.transfer.sender import Source

    moved(world.model, 4)
    whole, world.source, world.sender = world.source, Source(world.tensors), None
    world.skips = 5
    with pytest.raises(EngineFault, match="the weights lack 1 of the model's tensors"):
        await world.send(4)
    await world.refused("is stale: the sync of weights failed")
    world.skips, world.source = -1, whole
    await world.send(4)
    await world.prove(4)


async def test_failure_of_one_engine_fails_the_sync_until_the_next_one(world: World) -> None:
    def forget(method: str) -> None:
        if method == "receive_weights":
            world.engines[1].updates._ticket = "another"

    moved(world.model, 5)
    world.line.before = forget
    with pytest.raises(EngineFault, match="policy-1 refused a call of an earlier sync"):
        await world.send(5)
    world.line.before = lambda method: None
    await world.send(5)
    await world.prove(5)


async def test_engine_that_dies_during_a_sync_is_an_immediate_fault(world: World) -> None:
    cores = [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]
    world.line.before = lambda method: cores[1].kill() if method == "receive_weights" else None
    async with asyncio.timeout(50):
        with pytest.raises(EngineFault, match="the sync of version 6 failed"):
            await world.send(6)
