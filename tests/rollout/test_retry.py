"""Tests of retries: limit, waits, and the faults that are not retried."""

import asyncio

import pytest

from rollout.errors import BrowserFault, EngineFault, MachineError, StorageFault
from rollout.retry import Retries


class Failing:
    """A call that fails with the given faults, then returns the number of calls."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.calls = list(faults), 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return self.calls


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_call_is_repeated_until_it_succeeds(failures: int) -> None:
    retries = Retries("a call", 2)
    assert await retries.call(Failing(*[EngineFault("lost")] * failures)) == failures + 1
    assert len(retries.faults) == failures


async def test_last_fault_propagates_when_no_retry_is_left() -> None:
    ask = Failing(EngineFault("first"), EngineFault("second"), EngineFault("third"))
    retries = Retries("a call", 2)
    with pytest.raises(EngineFault, match="third"):
        await retries.call(ask)
    assert [str(fault) for fault in retries.faults] == ["first", "second"]


async def test_calls_share_the_limit() -> None:
    retries = Retries("an episode", 1)
    await retries.call(Failing(EngineFault("lost")))
    with pytest.raises(BrowserFault):
        await retries.call(Failing(BrowserFault("lost")))


@pytest.mark.parametrize("fault", [StorageFault("the disk is full"), EngineFault("lost"), ValueError("a bug")])
async def test_other_errors_propagate_at_once(fault: Exception) -> None:
    ask = Failing(fault)
    with pytest.raises(type(fault)):
        await Retries("a page", 2, fault=BrowserFault).call(ask)
    assert ask.calls == 1


async def test_storage_fault_is_not_retried() -> None:
    ask = Failing(StorageFault("the disk is full"))
    with pytest.raises(StorageFault):
        await Retries("a call", 2, fault=MachineError).call(ask)
    assert ask.calls == 1


async def test_waits_grow_with_the_number_of_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Retries("a call", 2, backoff_s=0.5).call(Failing(EngineFault("one"), EngineFault("two")))
    assert waits == [0.5, 1.0]
