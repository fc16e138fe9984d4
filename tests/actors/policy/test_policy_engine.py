"""Tests of the policy actor with a real vLLM engine on a tiny model; all tests share one engine, in order."""

import asyncio
import dataclasses
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from tiny_model import tiny_model
from tiny_policy import CANARY, VLLM_WARNINGS, logprobs_of, moved, synced

from actors.policy.engine import VLLMPolicy
from actors.settings import PolicySettings
from rollout.errors import EngineFault, PromptTooLong, SettingsError, SyncError
from rollout.records import Completion, Message, Request

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"), *VLLM_WARNINGS]


def ask(text: str = "a page", **options: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), **{"max_tokens": 24, "seed": 5} | options)


def ids(completions: tuple[Completion, ...]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in completions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policy")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """The model as the learner would hold it; `moved` changes its weights."""
    return tiny_model(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def policy(folder: Path, model: Any) -> AsyncIterator[VLLMPolicy]:
    engine, before = VLLMPolicy(str(folder), PolicySettings(kv_cache_gib=0.05), seed=7), dict(os.environ)
    await engine.start()
    assert dict(os.environ) == before
    yield engine
    await engine.stop()
    del engine
    gc.collect()  # so that vLLM's destructor warnings appear here


async def test_completions_are_well_formed_and_ordered(policy: VLLMPolicy, model: Any) -> None:
    request = ask(num=3)
    completions = await policy.complete(request)
    assert len(set(ids(completions))) == 3
    for completion in completions:
        assert len(completion.token_ids) == len(completion.logprobs)
        assert [(span.version, span.start, span.end) for span in completion.versions] == [
            (0, 0, len(completion.token_ids))
        ]
        assert completion.finish == ("length" if len(completion.token_ids) == 24 else "stop")
        wanted = logprobs_of(model, completion.prompt_ids + completion.token_ids)[-len(completion.token_ids) :]
        assert completion.logprobs == pytest.approx(wanted, abs=1e-3)
    assert completions[0].prompt_ids == (1, *policy.prompt_ids(request.messages)[1:-1], 2)


async def test_tokens_depend_on_the_request_and_not_on_the_batch(policy: VLLMPolicy) -> None:
    alone = await policy.complete(ask(num=2))
    crowd = await asyncio.gather(
        *(policy.complete(ask(f"page {i}", seed=i)) for i in range(20)), policy.complete(ask(num=2))
    )
    assert ids(crowd[-1]) == ids(alone)
    assert ids(await policy.complete(ask(num=1))) == ids(alone)[:1]
    assert ids(await policy.complete(ask(num=2, seed=6))) != ids(alone)


async def test_logprobs_are_scaled_by_the_temperature(policy: VLLMPolicy, model: Any) -> None:
    import torch

    (completion,) = await policy.complete(ask(temperature=0.5))
    token_ids = completion.prompt_ids + completion.token_ids
    with torch.no_grad():
        scores = (model(torch.tensor([token_ids])).logits[0] / 0.5).log_softmax(-1)
    wanted = [scores[i, token].item() for i, token in enumerate(token_ids[1:])][-len(completion.token_ids) :]
    assert completion.logprobs == pytest.approx(wanted, abs=1e-3)


async def test_stop_string_ends_a_completion_and_is_kept(policy: VLLMPolicy) -> None:
    request = ask(max_tokens=200, num=8)
    completions = await policy.complete(request)
    index, whole = max(enumerate(completions), key=lambda pair: len(pair[1].text))
    stop = next(letter for letter in whole.text[5:] if letter.isascii() and letter.isprintable())
    cut = (await policy.complete(dataclasses.replace(request, stop=(stop,))))[index]
    assert cut.finish == "stop"
    assert cut.text == whole.text[: whole.text.index(stop) + 1]
    assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]


async def test_stop_string_inside_a_thought_does_not_end_the_completion(
    policy: VLLMPolicy, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template opens a thought that a random model never closes, so all text belongs to the thought."""
    tokenizer = policy.engine.running().get_tokenizer()
    opened, ids_of = tokenizer.encode("<think>", add_special_tokens=False), policy.prompt_ids
    monkeypatch.setattr(policy, "prompt_ids", lambda messages: [*ids_of(messages), *opened])
    request = ask(max_tokens=200, num=8)
    whole = max(await policy.complete(request), key=lambda completion: len(completion.token_ids))
    stop = next(letter for letter in whole.text[5:] if letter.isascii() and letter.isprintable())
    quoting = dataclasses.replace(request, stop=(stop,))
    completions = await policy.complete(quoting)
    assert ids(await policy.complete(quoting)) == ids(completions)
    assert any(stop in completion.text[:-1] for completion in completions)
    for one in completions:
        assert one.finish == ("length" if len(one.token_ids) == 200 else "stop")
        # A random model writes broken characters; vLLM omits a character that is incomplete at the end.
        assert one.text.rstrip("\ufffd") == tokenizer.decode(one.token_ids).removesuffix("<|end|>").rstrip("\ufffd")
        assert [(span.start, span.end) for span in one.versions] == [(0, len(one.token_ids))]
        wanted = logprobs_of(model, one.prompt_ids + one.token_ids)[-len(one.token_ids) :]
        assert one.logprobs == pytest.approx(wanted, abs=1e-3)


async def test_prompt_that_fills_the_context_is_refused(policy: VLLMPolicy) -> None:
    with pytest.raises(PromptTooLong, match="max_model_len = 512"):
        await policy.complete(ask("x" * 600))


async def test_full_batch_of_long_prompts_is_answered(policy: VLLMPolicy) -> None:
    # Seeded prompts with chunked prefill would crash the engine.
    answers = await asyncio.gather(*(policy.complete(ask(f"{i}" + "y" * 400, max_tokens=4)) for i in range(30)))
    assert len(answers) == 30


async def test_new_weights_change_completions_and_pass_the_canary_check(policy: VLLMPolicy, model: Any) -> None:
    before = await policy.complete(ask(num=2))
    await synced(policy, model, 1)
    after = await policy.complete(ask(num=2))
    assert ids(after) != ids(before)
    assert {span.version for completion in after for span in completion.versions} == {1}
    assert await policy.canary(CANARY) == pytest.approx(logprobs_of(model, CANARY), abs=1e-3)


async def test_running_completions_continue_under_new_weights(policy: VLLMPolicy, model: Any) -> None:
    running, version = asyncio.create_task(policy.complete(ask(num=8, max_tokens=400))), 1
    while not running.done():
        version += 1
        await synced(policy, model, version)
        await asyncio.sleep(0.05)
    completions = await running
    assert max(len(completion.versions) for completion in completions) >= 2
    for completion in completions:
        spans = completion.versions
        assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
        assert spans[-1].end == len(completion.token_ids)
        assert list(spans) == sorted(spans, key=lambda span: span.version)
    assert await policy.canary(CANARY) == pytest.approx(logprobs_of(model, CANARY), abs=1e-3)


async def test_engine_with_refused_weights_serves_nothing_until_a_good_sync(policy: VLLMPolicy, model: Any) -> None:
    from safetensors.torch import load, save

    good = moved(model, 99)
    tensors = load(good)
    name = "model.layers.1.self_attn.v_proj.weight"
    lacking = save({key: value for key, value in tensors.items() if key != name})
    misshapen = save(tensors | {name: tensors[name][:7].contiguous()})
    running = asyncio.create_task(policy.complete(ask(num=4, max_tokens=400)))
    await asyncio.sleep(0.1)
    for bad in (good[:1000], lacking, misshapen):
        with pytest.raises(EngineFault, match="stale"):
            await policy.update_weights(bad, version=99)
        with pytest.raises(EngineFault, match="stale"):
            await policy.complete(ask())
        with pytest.raises(EngineFault, match="stale"):
            await policy.canary(CANARY)
    with pytest.raises(EngineFault):
        await running
    await policy.update_weights(good, version=99)
    await policy.prove(99, CANARY, tuple(logprobs_of(model, CANARY)), 1e-3)
    await policy.ping()
    assert await policy.complete(ask())


async def test_no_completion_is_returned_between_new_weights_and_their_check(policy: VLLMPolicy, model: Any) -> None:
    running = asyncio.create_task(policy.complete(ask(num=2, max_tokens=60)))
    await asyncio.sleep(0.05)
    await policy.update_weights(moved(model, 100), version=100)
    asked = asyncio.create_task(policy.complete(ask()))
    for _ in range(5):
        await policy.ping()  # More pings than tokens remain; the engine is healthy but serves no request.
        await policy.canary(CANARY)
    await asyncio.sleep(0.3)
    assert not running.done()
    assert not asked.done()
    await policy.prove(100, CANARY, tuple(logprobs_of(model, CANARY)), 1e-3)
    assert {span.version for one in await running for span in one.versions} <= {99, 100}
    assert {span.version for one in await asked for span in one.versions} == {100}


@pytest.mark.parametrize(("claimed", "shift"), [(101, 0.5), (102, 0.0)], ids=["another model", "a stale version"])
async def test_engine_that_fails_the_weight_check_serves_no_request(
    policy: VLLMPolicy, model: Any, claimed: int, shift: float
) -> None:
    running = asyncio.create_task(policy.complete(ask(num=2, max_tokens=400)))
    await asyncio.sleep(0.05)
    await policy.update_weights(moved(model, 101), version=101)
    wanted = tuple(score + shift for score in logprobs_of(model, CANARY))
    with pytest.raises(SyncError, match=r"policy-0 (does not hold|holds the weights of version 101)"):
        await policy.prove(claimed, CANARY, wanted, 1e-3)
    for call in (running, policy.complete(ask()), policy.ping()):
        with pytest.raises(EngineFault, match=f"has not proven version {claimed}"):
            await call
    await synced(policy, model, 103)
    assert await policy.complete(ask())


async def test_engine_that_failed_a_health_check_serves_again_after_a_sync(
    policy: VLLMPolicy, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy.engine, "settings", policy.settings.model_copy(update={"call_timeout_s": 1e-9}))
    with pytest.raises(EngineFault, match="policy-0: the health check took more than policy.call_timeout_s = 1e-09 s"):
        await policy.ping()
    monkeypatch.undo()
    for call in (policy.complete(ask()), policy.ping()):
        with pytest.raises(EngineFault, match="failed its health check and has not been synced since"):
            await call
    await synced(policy, model, 104)
    assert await policy.complete(ask())
    await policy.ping()


async def test_unfinished_update_is_dropped_by_the_next_one(policy: VLLMPolicy, model: Any) -> None:
    await policy.connect("first", {})
    await policy.open_update("first", 105)
    await policy.connect("second", {})
    with pytest.raises(EngineFault, match="policy-0 refused a call of an earlier sync"):
        await policy.close_update("first", 105)
    await synced(policy, model, 106)
    assert await policy.complete(ask())


async def test_killed_engine_is_a_fault_and_leaves_no_process_or_file(policy: VLLMPolicy) -> None:
    (core,) = [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]
    running = asyncio.create_task(policy.complete(ask(num=4, max_tokens=400)))
    await asyncio.sleep(0.1)
    core.kill()
    async with asyncio.timeout(60):
        with pytest.raises(EngineFault, match="lost its engine"):
            await running
        for call in (policy.ping(), policy.canary(CANARY), policy.complete(ask()), policy.update_weights(b"", 4)):
            with pytest.raises(EngineFault, match="lost its engine"):
                await call
    await policy.stop()
    assert not core.is_running()
    assert not [file for file in Path("/dev/shm").iterdir() if file.name.startswith("relook-")]
    with pytest.raises(EngineFault, match="was stopped"):
        await policy.ping()


async def test_invalid_engine_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no config\.json"):
        await VLLMPolicy(str(tmp_path), PolicySettings(), seed=0).start()
    with pytest.raises(SettingsError, match="max_model_len"):
        await VLLMPolicy(str(folder), PolicySettings(max_model_len=100_000), seed=0).start()
