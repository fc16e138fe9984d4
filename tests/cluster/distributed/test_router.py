"""Tests of the request router: limits, shared renders and affinity hold across four episode workers on a real Ray."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cluster.distributed import router
from cluster.distributed.permits import Permit
from cluster.distributed.router import Grant, Message, RoutedPermits, Router, RouterClient
from cluster.experiments.bench.training_loop.simulated_actors import Handle
from rollout.errors import MachineError

ROOT = Path(__file__).parents[3]
PATIENCE_S = 900


def counted(kind: str, folder: Path) -> dict[str, Any]:
    """Counts of the actors of `routed_actors.py`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support")))
    command = [sys.executable, str(ROOT / "tests" / "support" / "routed_actors.py"), kind, str(folder)]
    shown = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


def nothing_is_held(leftover: dict[str, list[int]]) -> bool:
    return leftover == {"policy": [0, 0], "browser": [0] * 4, "critic": [0, 0]}


@pytest.mark.engine
def test_four_workers_share_actors_and_recover_permits_after_kills(tmp_path: Path) -> None:
    found = counted("stubs", tmp_path)
    peace = found["peace"]
    assert peace["idle"] == [1] * 4, "four idle browsers get one page each"
    assert (peace["most"], peace["pages"]) == ([1] * 4, 48)
    assert peace["shared"] == 1, "all workers ask for one page, which is rendered once"
    assert [most for most, _ in peace["engines"]] == [3, 3]
    assert sum(calls for _, calls in peace["engines"]) == 48
    assert [most for most, _ in peace["critics"]] == [2, 2]
    assert all(sorted(calls) == [0, 3] for calls in peace["homes"]), "a prompt goes to the engine that has its prefix"
    assert nothing_is_held(peace["leftover"])
    for victim in ("worker", "router", "browser"):
        assert found[victim]["outcomes"] == {"ok": 24}, victim
        assert nothing_is_held(found[victim]["leftover"]), victim
    assert found["router"]["most"] == [1] * 4, "a new router learns which calls run already"
    assert found["afterwards"]["most"] == [1] * 4
    assert nothing_is_held(found["afterwards"]["leftover"])


@pytest.mark.engine
@pytest.mark.browser
def test_four_workers_share_four_real_browsers(tmp_path: Path) -> None:
    found = counted("chromium", tmp_path)
    assert found["idle"] == [1] * 4
    assert (found["shared"], found["outcomes"]) == (1, ["ok"] * 4)
    assert found["most"] == [1] * 4
    assert nothing_is_held(found["leftover"])


class Worker:
    """A worker's side of the router in this process; the test can kill it."""

    def __init__(self) -> None:
        self.client = RouterClient(5.0)
        self.dead = False

    async def exchange(self, session: str, grants: list[Grant]) -> list[Message]:
        return await self._alive(self.client.exchange(session, grants))

    async def grant(self, session: str, grants: list[Grant]) -> None:
        await self._alive(self.client.grant(session, grants))

    def acquire(self, shared: str = "") -> "asyncio.Task[Permit]":
        return asyncio.create_task(RoutedPermits(self.client, "browser").acquire(shared=shared))

    async def _alive(self, call: Any) -> Any:
        work = asyncio.ensure_future(call)
        while not work.done():
            await asyncio.wait([work], timeout=0.01)
            if self.dead:
                work.cancel()
                raise MachineError("dead")
        return work.result()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["IsolatedWorld"]:
    monkeypatch.setattr(router, "PAUSE_S", 0.01)
    monkeypatch.setattr(router, "HEARTBEAT_S", 0.05)
    world = IsolatedWorld()
    yield world
    world.end()
    await asyncio.sleep(0)


class IsolatedWorld:
    """Two workers and a router over two browsers."""

    def __init__(self) -> None:
        self.workers = [Worker(), Worker()]
        self.start()

    def start(self) -> None:
        self.router = Router(self.find, 2, {"browser": (2, 1)}, 5.0)

    def find(self, name: str) -> Any:
        return Handle(self.workers[int(name.removeprefix("worker-"))])

    def end(self) -> None:
        for task in self.router.tasks:
            task.cancel()

    async def counts(self, wanted: list[int]) -> bool:
        """Whether the router's counts of browser calls become these."""
        for _ in range(200):
            if self.router.permits["browser"].loads.counts == wanted:
                return True
            await asyncio.sleep(0.01)
        return False


async def test_dead_worker_frees_its_permits_and_restarts_without_any(world: IsolatedWorld) -> None:
    first, second = world.workers
    held = [await first.acquire() for _ in range(2)]
    assert {permit.place for permit in held} == {0, 1}
    waiting = second.acquire()
    await asyncio.sleep(0.05)
    assert not waiting.done()
    first.dead = True
    assert (await waiting).place >= 0
    assert await world.counts([1, 0]) or await world.counts([0, 1])
    world.workers[0] = Worker()
    assert {(await world.workers[0].acquire()).place, waiting.result().place} == {0, 1}


async def test_new_router_learns_held_permits_and_waiting_calls(world: IsolatedWorld) -> None:
    first, second = world.workers
    held = [await first.acquire() for _ in range(2)]
    waiting = second.acquire()
    await asyncio.sleep(0.05)
    world.end()
    RoutedPermits(first.client, "browser").release(held[0].place)  # Without a poll, this release is never sent.
    await asyncio.sleep(0.05)
    world.start()
    assert (await waiting).place == held[0].place
    assert await world.counts([1, 1])
    assert not second.client.wanted


async def test_worker_that_gets_the_poll_of_another_session_is_counted_again(world: IsolatedWorld) -> None:
    """The worker restarted between two polls, or received a late poll of an earlier session."""
    first, _ = world.workers
    for _ in range(2):
        await first.acquire()
    world.workers[0].client = RouterClient(5.0)
    assert await world.counts([0, 0])


async def test_cancelled_acquire_leaves_no_permit_held(world: IsolatedWorld) -> None:
    first, second = world.workers
    held = [await first.acquire() for _ in range(2)]
    wants = [second.acquire() for _ in range(3)]
    await asyncio.sleep(0.05)
    RoutedPermits(first.client, "browser").release(held[0].place)
    for want in wants:
        await asyncio.sleep(0)
        want.cancel()
    await asyncio.gather(*wants, return_exceptions=True)
    RoutedPermits(first.client, "browser").release(held[1].place)
    assert await world.counts([0, 0])
    assert not +second.client.held


async def test_shared_answer_is_reused_until_it_or_its_worker_is_lost(world: IsolatedWorld) -> None:
    first, second = world.workers
    assert (await first.acquire("page")).place >= 0
    assert await second.acquire("page") == Permit(worker=0)
    RoutedPermits(second.client, "browser").forget("page")
    assert (await second.acquire("page")).place >= 0
    assert await first.acquire("page") == Permit(worker=1)
    second.dead = True
    await asyncio.sleep(0.1)
    assert (await first.acquire("page")).place >= 0


@pytest.mark.parametrize("ticks", range(24))
async def test_polling_of_a_dead_worker_ends_when_it_is_cancelled_at_any_moment(
    world: IsolatedWorld, monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    monkeypatch.setattr(router, "PAUSE_S", 0.0)
    world.workers[1].dead = True
    await asyncio.sleep(0.05)
    for _ in range(ticks):
        await asyncio.sleep(0)
    world.end()
    _, running = await asyncio.wait(world.router.tasks, timeout=5.0)
    assert not running


async def test_acquire_times_out_if_the_router_does_not_poll() -> None:
    client = RouterClient(0.05)
    with pytest.raises(MachineError, match="the router has not polled this worker for 0 s"):
        await RoutedPermits(client, "browser").acquire()
    assert client.wanted == {}
