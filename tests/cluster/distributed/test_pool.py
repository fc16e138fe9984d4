"""Tests of actor pools: failed actors leave, recovered actors return, and every wait has a limit."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.distributed.clients import CriticClient, PolicyClient, RendererClient, RolloutClient
from cluster.distributed.pool import Pool
from cluster.storage.store import Store
from cluster.training.exam import run_exam
from rollout.errors import BrowserFault, MachineError, PictureLost, StorageFault
from rollout.prompts import first, revise
from rollout.records import Comparison, Critique, Group, Page, Render, Request, Task

TASK = Task(id="hero", brief="Build a hero.")
PAGE = Page(html="<p>")


class Remote:
    """A method of an actor, with Ray's calling convention."""

    def __init__(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.method = method

    def remote(self, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self.method(*args, **kwargs))


class Mortal:
    """An actor that can die, be slow, and recover."""

    def __init__(self, name: str) -> None:
        self.name, self.dead, self.calls, self.slow_s = name, False, 0, 0.0
        self.full = False

    def __getattr__(self, method: str) -> Remote:
        return Remote(getattr(self, f"_{method}"))

    async def _ping(self) -> None:
        from ray.exceptions import ActorDiedError

        if self.dead:
            raise ActorDiedError

    async def _work(self, value: int = 0) -> str:
        self.calls += 1
        await self._ping()
        await asyncio.sleep(self.slow_s)
        return self.name

    async def _render(self, page: Page, *_: object) -> Render:
        await self._work()
        return Render(page_sha256=page.sha256, outcome="ok", detail=str(self.calls))

    async def _judge(self, *_: Any, **__: Any) -> Critique:
        raise PictureLost("gone")

    async def _compare(self, *_: Any) -> Comparison:
        raise PictureLost("gone")

    async def _play_group(self, task: Task, **_: Any) -> Group:
        await self._work()
        if self.full:
            raise StorageFault("no space left")
        return Group(task=task, trajectories=(), dropped=0)


def pool(*actors: Mortal, timeout_s: float = 5.0, limit: int = 4) -> Pool:
    return Pool("browser", actors, fault=BrowserFault, timeout_s=timeout_s, limit=limit)


async def test_dead_actor_gets_one_call_and_no_more_until_it_recovers() -> None:
    lost, well = Mortal("lost"), Mortal("well")
    lost.dead, browsers = True, pool(lost, well)
    with pytest.raises(BrowserFault, match=r"browser-0\.work: the actor died"):
        await browsers.ask("work")
    assert [await browsers.ask("work") for _ in range(5)] == ["well"] * 5
    assert lost.calls == 1
    lost.dead = False
    await asyncio.gather(*browsers.permits.recovering.values())
    assert {await one for one in [asyncio.create_task(browsers.ask("work")) for _ in range(2)]} == {"lost", "well"}


async def test_calls_wait_until_the_only_actor_recovers() -> None:
    only = Mortal("only")
    only.dead, browsers = True, pool(only)
    with pytest.raises(BrowserFault):
        await browsers.ask("work")
    waiting = [asyncio.create_task(browsers.ask("work")) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert only.calls == 1
    only.dead = False
    assert await asyncio.gather(*waiting) == ["only"] * 3


async def test_calls_to_a_lost_or_slow_actor_time_out() -> None:
    only = Mortal("only")
    only.dead, browsers = True, pool(only, timeout_s=0.05)
    with pytest.raises(BrowserFault):
        await browsers.ask("work")
    with pytest.raises(BrowserFault, match="none of 1 browser actors answered for 0 s"):
        await browsers.ask("work")
    only.dead, only.slow_s = False, 30.0
    await asyncio.gather(*browsers.permits.recovering.values())
    with pytest.raises(BrowserFault, match="no answer in 0 s"):
        await browsers.ask("work")


async def test_page_with_lost_images_is_rendered_again() -> None:
    browser = Mortal("browser")
    renderer = RendererClient([browser], timeout_s=5.0)
    critic = CriticClient([Mortal("critic")], timeout_s=5.0, lost=renderer.forget)
    render = await renderer.render(PAGE)
    assert await renderer.render(PAGE) is render
    with pytest.raises(PictureLost):
        await critic.judge(TASK, PAGE, render, None)
    assert (await renderer.render(PAGE)).detail == "2"
    better = Page(html="<p>better</p>")
    shown = await renderer.render(better)
    with pytest.raises(PictureLost):
        await critic.compare(TASK, (PAGE, render), (better, shown), None)
    assert [(await renderer.render(page)).detail for page in (PAGE, better)] == ["4", "5"]


async def test_group_is_replayed_if_its_worker_dies_and_dropped_without_workers() -> None:
    lost, well = Mortal("lost"), Mortal("well")
    lost.dead = True
    assert (await RolloutClient([lost, well], timeout_s=5.0, limit=9).play_group(TASK, num=4, seed=1)).dropped == 0
    well.dead = True
    client = RolloutClient([lost, well], timeout_s=0.05, limit=9)
    assert (await client.play_group(TASK, num=4, seed=1)).dropped == 4
    with pytest.raises(MachineError):
        await client.edit(TASK, rounds=1, seed=1)


async def test_storage_fault_is_not_retried_and_does_not_quarantine_the_worker() -> None:
    worker = Mortal("worker")
    worker.full, client = True, RolloutClient([worker], timeout_s=5.0, limit=9)
    with pytest.raises(StorageFault, match="no space left"):
        await client.play_group(TASK, num=4, seed=1)
    assert (worker.calls, client.pool.permits.recovering) == (1, {})


async def test_stream_passes_items_on_and_returns_its_permit() -> None:
    class Counter:
        """An actor with a generator method, in Ray's calling convention: every item is a call of its own."""

        def __getattr__(self, method: str) -> Any:
            return SimpleNamespace(remote=self._count)

        async def _count(self, num: int) -> Any:
            for value in range(num):
                item = asyncio.get_running_loop().create_future()
                item.set_result(value)
                yield item

    pool = Pool("policy", [Counter()], fault=MachineError, timeout_s=5.0)
    for _ in range(2):
        async with asyncio.timeout(5):
            assert [item async for item in pool.stream("count", 3)] == [0, 1, 2]
    assert pool.num_healthy == 1


async def test_closed_pool_refuses_calls_and_quarantines_nothing() -> None:
    only = Mortal("only")
    only.slow_s, browsers = 30.0, pool(only, timeout_s=0.05)
    asked = asyncio.create_task(browsers.ask("work"))
    await asyncio.sleep(0.01)
    browsers.close()
    with pytest.raises(BrowserFault, match="no answer in 0 s"):
        await asked
    assert browsers.permits.recovering == {}
    with pytest.raises(BrowserFault, match="the browser pool is closed; cannot call work"):
        await browsers.ask("work")
    assert only.calls == 1


async def test_calls_with_an_affinity_key_stay_on_an_actor_until_overload() -> None:
    first, second = Mortal("first"), Mortal("second")
    engines = pool(first, second, limit=9)
    assert [await engines.ask("work", near="a") for _ in range(3)] == ["first"] * 3
    assert [await engines.ask("work", near="b") for _ in range(3)] == ["second"] * 3
    first.slow_s = second.slow_s = 0.01
    siblings = await asyncio.gather(*(engines.ask("work", near="a") for _ in range(7)))
    assert siblings == ["first"] * 5 + ["second"] * 2, "four more than an idle one has are clearly more"
    assert engines.permits.loads.counts == [0, 0]


async def test_actor_never_exceeds_its_limit_even_if_the_others_are_lost() -> None:
    lost, well = Mortal("lost"), Mortal("well")
    lost.dead, browsers = True, pool(lost, well, limit=1)
    with pytest.raises(BrowserFault):
        await browsers.ask("work")
    well.slow_s = 0.01
    asked = [asyncio.create_task(browsers.ask("work", near="a")) for _ in range(3)]
    while not all(one.done() for one in asked):
        assert browsers.permits.loads.counts[1] <= 1
        await asyncio.sleep(0.001)
    assert [one.result() for one in asked] == ["well"] * 3
    browsers.close()


async def test_cancelled_call_returns_its_permit_or_its_place_in_the_queue() -> None:
    only = Mortal("only")
    only.slow_s, browsers = 0.01, pool(only, limit=1)
    asked = [asyncio.create_task(browsers.ask("work")) for _ in range(4)]
    await asyncio.sleep(0.001)
    asked[0].cancel()
    asked[2].cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert [one.cancelled() for one in asked] == [True, False, True, False]
    assert browsers.permits.loads.counts == [0]
    assert not browsers.permits.waiting


async def test_affinity_moves_to_another_actor_after_a_death() -> None:
    lost, well = Mortal("lost"), Mortal("well")
    engines = pool(lost, well)
    assert await engines.ask("work", near="a") == "lost"
    lost.dead = True
    with pytest.raises(BrowserFault):
        await engines.ask("work", near="a")
    assert await engines.ask("work", near="a") == "well"
    lost.dead = False
    await asyncio.gather(*engines.permits.recovering.values())
    assert await engines.ask("work", near="a") == "well"


async def test_rounds_and_siblings_of_one_task_share_an_engine() -> None:
    seen: list[tuple[str, str]] = []

    class Engine(Mortal):
        async def _complete(self, request: Request) -> tuple[()]:
            seen.append((request.messages[1].content, self.name))
            return ()

    policy = PolicyClient([Engine("a"), Engine("b"), Engine("c")], timeout_s=5.0, limit=9)
    tasks = [Task(id=str(i), brief=f"Build {i}.") for i in range(3)]
    for messages in (first, lambda task: revise(task, PAGE, ("Mend it.",))):
        for task in tasks:
            await policy.complete(Request(messages=messages(task), max_tokens=9, seed=1))
    assert len(set(seen)) == 3
    assert len({engine for _, engine in seen}) == 3


async def test_closing_a_pool_cancels_recovery() -> None:
    only = Mortal("only")
    only.dead, browsers = True, pool(only)
    with pytest.raises(BrowserFault):
        await browsers.ask("work")
    (recovery,) = browsers.permits.recovering.values()
    browsers.close()
    with pytest.raises(asyncio.CancelledError):
        await recovery


async def test_exam_with_a_storage_fault_is_cancelled(tmp_path: Path) -> None:
    """No task of the exam is still running afterwards."""
    full, slow = Mortal("full"), Mortal("slow")
    full.full, slow.slow_s = True, 30.0
    client = RolloutClient([full, slow], timeout_s=60.0, limit=1)
    with pytest.raises(StorageFault, match="no space left"):
        await run_exam(client, Store(tmp_path), [TASK, TASK], step=0, seed=1)
    assert client.pool.permits.loads.counts == [0, 0]
