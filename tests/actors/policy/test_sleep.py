"""Tests of an engine's sleep: requests wait until the proof of a sync, and health checks do not call it a fault."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tiny_model import tiny_model

from actors.policy.admission import Admission
from actors.policy.engine_arguments import engine_arguments
from actors.policy.sleep import EngineSleep
from actors.policy.vllm_engine import VLLMEngine
from actors.settings import PolicySettings
from rollout.errors import EngineFault


class Sleeper:
    """The part of vLLM's engine that sleeps; `fault` makes its next call fail."""

    errored = False

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.fault: Exception | None = None
        self.output_handler = asyncio.ensure_future(asyncio.sleep(60))

    async def sleep(self, level: int, mode: str) -> None:
        self._do(("sleep", level, mode))

    async def wake_up(self) -> None:
        self._do("wake")

    def _do(self, call: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.log.append(call)


async def started(level: int = 2) -> tuple[EngineSleep, Sleeper, Admission]:
    """An engine that serves, with a small implementation in place of vLLM's."""
    settings, admission, vllm = PolicySettings(sleep_level=level), Admission("policy-0"), Sleeper()
    engine = VLLMEngine("", settings, seed=0, rank=0, admission=admission)
    engine._vllm = vllm
    admission.open()
    return EngineSleep(engine), vllm, admission


@pytest.mark.parametrize("level", [1, 2])
async def test_requests_wait_from_sleep_to_the_proof_of_a_sync(level: int) -> None:
    sleep, vllm, admission = await started(level)
    await sleep.start()
    asked = asyncio.create_task(admission.passed(5.0))
    await asyncio.sleep(0.01)
    await sleep.end()
    await asyncio.sleep(0.01)
    assert vllm.log == [("sleep", level, "abort"), "wake"]
    assert not asked.done(), "the weights are not proven"
    admission.open()
    await asked


async def test_sleep_and_wake_may_be_repeated() -> None:
    sleep, vllm, _ = await started()
    await sleep.end()
    await asyncio.gather(sleep.start(), sleep.start())
    await sleep.end()
    await sleep.end()
    assert vllm.log == [("sleep", 2, "abort"), "wake"]


async def test_sleep_waits_for_running_health_checks_and_later_ones_are_skipped() -> None:
    sleep, vllm, _ = await started()
    with sleep.health_check() as first, sleep.health_check() as second:
        assert (first, second) == (True, True)
        sleeping = asyncio.create_task(sleep.start())
        await asyncio.sleep(0.01)
        assert vllm.log == []
        with sleep.health_check() as third:
            assert not third
    await sleeping
    assert vllm.log == [("sleep", 2, "abort")]
    await sleep.end()
    with sleep.health_check() as awake:
        assert awake


async def test_an_engine_that_cannot_sleep_or_wake_refuses_requests() -> None:
    sleep, vllm, admission = await started()
    vllm.fault = RuntimeError("no memory")
    with pytest.raises(EngineFault, match="policy-0 failed to sleep: no memory"):
        await sleep.start()
    with pytest.raises(EngineFault, match="failed to sleep"):
        await admission.passed(1.0)
    with pytest.raises(EngineFault):
        await sleep.start()
    admission.open()
    vllm.fault = None
    await sleep.start()
    vllm.fault = RuntimeError("no memory")
    with pytest.raises(EngineFault, match="policy-0 failed to wake: no memory"):
        await sleep.end()
    with pytest.raises(EngineFault, match="failed to wake"):
        await admission.passed(1.0)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_vllm_on_a_cpu_refuses_sleep_mode_and_is_not_asked_for_it(tmp_path: Path) -> None:
    """The limit that `docs/gpu.md` states; a failure means that sleep can be tested on a CPU."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("wants vLLM's CPU build")
    tiny_model(tmp_path)
    asked = engine_arguments(str(tmp_path), 0, PolicySettings(sleep_level=1))
    assert "enable_sleep_mode" not in asked
    with pytest.raises(ValueError, match="Sleep mode is not supported on current platform"):
        AsyncEngineArgs(**asked, enable_sleep_mode=True).create_model_config()
