"""Tests of engine admission during a weight sync."""

import asyncio

import pytest

from actors.policy.admission import Admission
from rollout.errors import EngineFault


async def test_callers_wait_for_the_weight_check_up_to_a_timeout() -> None:
    admission = Admission("policy-0")
    with pytest.raises(EngineFault, match="policy-0 has not started"):
        await admission.passed(5)
    admission.open()
    await admission.passed(5)
    admission.hold()
    waiting = asyncio.create_task(admission.passed(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    admission.open()
    await waiting
    admission.hold()
    with pytest.raises(EngineFault, match=r"the new weights were not proven within 0\.01 s"):
        await admission.passed(0.01)


async def test_failed_weight_check_refuses_waiting_callers_and_counts_a_loss() -> None:
    admission = Admission("policy-0")
    admission.hold()
    waiting, losses = asyncio.create_task(admission.passed(5)), admission.losses
    await asyncio.sleep(0)
    admission.shut("is stale")
    with pytest.raises(EngineFault, match="policy-0 is stale"):
        await waiting
    assert admission.losses == losses + 1


async def test_caller_that_wakes_during_the_next_sync_keeps_waiting() -> None:
    admission = Admission("policy-0")
    admission.hold()
    waiting = asyncio.create_task(admission.passed(5))
    await asyncio.sleep(0)
    admission.open()
    admission.hold()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    admission.open()
    await waiting
