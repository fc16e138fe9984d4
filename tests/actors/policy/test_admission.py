"""Who is admitted to an engine while it takes new weights."""

import asyncio

import pytest

from actors.policy.admission import Admission
from rollout.errors import EngineFault


async def test_callers_wait_for_the_verdict_and_no_longer() -> None:
    admission = Admission("policy 0")
    with pytest.raises(EngineFault, match="policy 0 has not started"):
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
    with pytest.raises(EngineFault, match=r"has waited 0\.01 s for its new weights to be proven"):
        await admission.passed(0.01)


async def test_a_bad_verdict_refuses_those_who_wait_and_counts_as_a_loss() -> None:
    admission = Admission("policy 0")
    admission.hold()
    waiting, losses = asyncio.create_task(admission.passed(5)), admission.losses
    await asyncio.sleep(0)
    admission.shut("is stale")
    with pytest.raises(EngineFault, match="policy 0 is stale"):
        await waiting
    assert admission.losses == losses + 1


async def test_one_who_wakes_into_the_next_sync_waits_on() -> None:
    admission = Admission("policy 0")
    admission.hold()
    waiting = asyncio.create_task(admission.passed(5))
    await asyncio.sleep(0)
    admission.open()
    admission.hold()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    admission.open()
    await waiting
