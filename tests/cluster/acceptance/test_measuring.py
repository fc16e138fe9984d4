"""Tests of the measuring parts with small actors in place of Ray's: calls, figures, faults, and one whole step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from actors.settings import PolicySettings
from cluster.acceptance import agreement, generation, learner, rendering, weight_sync
from cluster.acceptance.measurement import Measurement
from cluster.acceptance.session import ANY_GAP, AcceptanceSession
from cluster.distributed.clients import LearnerClient
from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from learner.memory_use import MemoryUse
from learner.model_costs.shape import FAMILY
from rollout.errors import EngineFault, LearnerFault
from rollout.records import Batch, Completion, Page, Render, Request, Update, VersionSpan

GIB = 1 << 30
SETTINGS = check_settings({"group_size": 2, "episode": {"max_tokens": 64}, "learner": {"token_budget": 1024}}, "test")


class Remote:
    """A method of an actor with Ray's calling convention."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def remote(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return asyncio.ensure_future(self.method(*args, **kwargs))


class Actor:
    def __getattr__(self, method: str) -> Remote:
        return Remote(getattr(self, f"_{method}"))


class Engine(Actor):
    """An engine whose log-probs are off by `error`."""

    def __init__(self, error: float = 0.0) -> None:
        self.error = error
        self.asked: list[Request] = []

    async def _complete(self, request: Request) -> tuple[Completion, ...]:
        self.asked.append(request)
        await asyncio.sleep(0.001)
        written = (7,) * request.max_tokens
        span = VersionSpan(version=0, start=0, end=len(written))
        return (
            Completion(
                prompt_ids=(5, 6),
                token_ids=written,
                logprobs=(-1.0,) * len(written),
                text="",
                finish="length",
                versions=(span,),
            ),
        )

    async def _generate_directly(self, requests: tuple[Request, ...]) -> int:
        await asyncio.sleep(0.001)
        return sum(request.max_tokens for request in requests)

    async def _canary(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        return (-1.0 + self.error,) * (len(token_ids) - 1)

    async def _prove_model(self, *args: Any) -> float:
        return self.error

    async def _update_weights(self, blob: Any, version: int) -> None:
        await asyncio.sleep(0.001)

    async def _prove(self, *args: Any) -> float:
        return self.error


class Rank(Actor):
    """A learner rank; `fault` is raised by updates."""

    def __init__(self) -> None:
        self.version = 0
        self.fault: Exception | None = None
        self.batches: list[Batch] = []

    async def _get_version(self) -> int:
        return self.version

    async def _logprobs(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        return (-1.0,) * (len(token_ids) - 1)

    async def _weights(self) -> bytes:
        return b"12"

    async def _weights_size(self) -> int:
        return 1_000_000

    async def _link_bytes_per_s(self, size: int) -> float:
        return 1e10

    async def _update(self, batch: Batch) -> Update:
        if self.fault is not None:
            raise self.fault
        self.batches.append(batch)
        self.version += 1
        return Update(version=self.version, metrics={"seconds": 0.5})

    async def _memory(self, *, restart: bool = False) -> MemoryUse:
        return MemoryUse(device="NVIDIA H100", peak=20 * GIB, total=80 * GIB)


class Browser(Actor):
    async def _render(self, page: Page, probes: Any, viewports: Any) -> Render:
        await asyncio.sleep(0.001)
        return Render(page_sha256=page.sha256, outcome="ok")


class OutOfMemoryError(RuntimeError):
    """Stands for torch's error of the same name."""


@pytest.fixture
async def client() -> AsyncIterator[LearnerClient]:
    made = LearnerClient(
        [Rank()], [Engine(error=0.01)], canary=(1, 2, 3), max_gap=ANY_GAP, timeout_s=5, policy=PolicySettings()
    )
    yield made
    made.engines.close()
    made.ranks.close()


def session(tmp_path: Path) -> AcceptanceSession:
    store = Store.create(tmp_path / "accept")
    return AcceptanceSession(SETTINGS, Curriculum(SETTINGS), store, lambda one: None)


async def test_sync_and_gap_are_measured(client: LearnerClient) -> None:
    found, sync, gap = await weight_sync.measure_sync(client)
    assert (found.verdict, gap, sync.bytes) == ("ok", 0.01, 1_000_000)
    gaps = await agreement.gaps_on_prompts(
        client, [Curriculum(SETTINGS).task(1, place) for place in range(2)], SETTINGS
    )
    assert gaps == pytest.approx([0.01] * 2 * 64)
    assert agreement.judge_gaps(gaps, gap, SETTINGS.cluster.max_logprob_gap).verdict == "wrong"


async def test_generation_counts_the_same_requests_on_both_sides() -> None:
    engine = Engine()
    asked = generation.first_requests([Curriculum(SETTINGS).task(1, place) for place in range(3)], SETTINGS)
    found, speed = await generation.measure_generation(engine, asked, timeout_s=5)
    assert found.figure == speed > 0
    assert engine.asked[3:] == asked * 2, "after the warm-up, two rounds"
    assert {request.max_tokens for request in engine.asked[:3]} == {4}


async def test_rendering_measures_pages_that_differ() -> None:
    found = await rendering.measure_rendering(Browser(), rendering.pages_of([], "now"), timeout_s=5)
    assert found.verdict == "ok"
    assert found.figure is not None
    assert found.figure > 1


async def test_updates_have_a_speed_a_utilisation_and_a_peak(client: LearnerClient) -> None:
    found, speed = await learner.measure_learner(client, SETTINGS, FAMILY["qwen2.5-0.5b"], [100])
    tokens = sum(len(one.prompt_ids) + len(one.token_ids) - 1 for one in client.ranks.handles[0].batches[0].samples)
    assert speed == pytest.approx(tokens / 0.5)
    assert [one.what for one in found] == ["updates of the learner", "peak memory of an update"]
    assert "of the peak of NVIDIA H100" in found[0].advice
    assert found[1].figure == 20.0


@pytest.mark.parametrize("fault", [LearnerFault("learner-rank-0 died"), OutOfMemoryError("CUDA out of memory")])
async def test_a_longest_sample_that_does_not_fit_is_wrong(client: LearnerClient, fault: Exception) -> None:
    batch = learner.longest_sample(SETTINGS, None)
    assert (await learner.measure_longest(client, batch)).verdict == "ok"
    client.ranks.handles[0].fault = fault
    found = await learner.measure_longest(client, batch)
    assert (found.verdict, found.figure) == ("wrong", None)
    assert "died" in found.advice or "does not fit" in found.advice


async def test_a_bug_during_the_longest_sample_is_not_hidden(client: LearnerClient) -> None:
    client.ranks.handles[0].fault = RuntimeError("the loss is not finite")
    with pytest.raises(RuntimeError, match="not finite"):
        await learner.measure_longest(client, learner.longest_sample(SETTINGS, None))


async def test_a_fault_of_one_part_is_its_result_and_a_bug_ends_the_acceptance(tmp_path: Path) -> None:
    told = session(tmp_path)

    async def lost() -> None:
        raise EngineFault("policy-0 lost its engine")

    async def bug() -> None:
        raise KeyError("tokens")

    assert await told._part("generation", lost()) is None
    assert [(one.what, one.verdict) for one in told.found] == [("generation", "wrong")]
    with pytest.raises(KeyError):
        await told._part("generation", bug())


def test_a_wide_gap_does_not_end_the_acceptance(tmp_path: Path) -> None:
    told = session(tmp_path)
    assert told.launched.cluster.max_logprob_gap == ANY_GAP
    assert told.settings.cluster.max_logprob_gap == RunSettings().cluster.max_logprob_gap


async def test_measurements_are_reported_at_once(tmp_path: Path) -> None:
    told: list[Measurement] = []
    one = Measurement(what="a", figure=1.0, unit="s", expected="", verdict="ok")
    made = session(tmp_path)
    made.report = told.append
    made._add(one)
    assert told == made.found == [one]
