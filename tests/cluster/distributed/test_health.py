"""Tests of the health monitor: lost and restarted actors are reported once; loss of a required pool ends it."""

import asyncio
from typing import Any

import pytest

from cluster.distributed.health import MAX_CHECKS_PER_S, MIN_INTERVAL_S, check_interval_s, monitor_actors
from cluster.distributed.pool import Pool
from rollout.errors import BrowserFault, EngineFault, MachineError


class Actor:
    """A Ray actor handle that the test can kill and restart."""

    def __init__(self) -> None:
        self.life, self.dead, self.unread = 1, False, []

    def __getattr__(self, method: str) -> Any:
        return self

    def remote(self, *_: Any) -> "asyncio.Future[tuple[int, tuple[str, ...]]]":
        return asyncio.ensure_future(self._answer())

    async def _answer(self) -> tuple[int, tuple[str, ...]]:
        from ray.exceptions import ActorDiedError

        if self.dead:
            raise ActorDiedError
        reported, self.unread = tuple(self.unread), []
        return self.life, reported


def pool(name: str, fault: type[MachineError], *actors: Actor) -> Pool:
    return Pool(name, actors, fault=fault, timeout_s=5, limit=1)


async def test_lost_and_restarted_actors_are_reported_once() -> None:
    notes: list[str] = []
    first, second = Actor(), Actor()
    reported: list[tuple[str, int, int]] = []

    def report(*health: Any) -> None:
        reported.append(health)

    pools = [pool("browser", BrowserFault, first, second)]
    vigil = asyncio.create_task(monitor_actors([], pools, notes.append, report, 0.001))
    await asyncio.sleep(0.05)
    first.dead = True
    await asyncio.sleep(0.05)
    first.dead, first.life = False, 2
    second.life = 7  # the actor was restarted between two health checks
    second.unread = ["Chromium was lost"]
    await asyncio.sleep(0.05)
    vigil.cancel()
    lost, *others = notes
    assert lost.startswith("lost browser-0: the actor died")
    assert reported == [("browser", 2, 0), ("browser", 1, 1), ("browser", 2, 0)]
    assert sorted(others) == ["browser-0 restarted", "browser-1 restarted", "browser-1: Chromium was lost"]


async def test_loss_of_a_required_actor_ends_the_monitor_and_its_tasks() -> None:
    engine, browser = Actor(), Actor()
    pools = [pool("policy", EngineFault, engine)], [pool("browser", BrowserFault, browser)]
    reported: dict[str, tuple[int, int]] = {}

    def report(name: str, healthy: int, lost: int) -> None:
        reported[name] = healthy, lost

    vigil = asyncio.create_task(monitor_actors(*pools, print, report, 0.001))
    await asyncio.sleep(0.05)
    engine.dead = True
    with pytest.raises(EngineFault, match="policy-0"):
        await asyncio.wait_for(vigil, 10)
    assert reported == {"policy": (0, 1), "browser": (1, 0)}
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_check_interval_grows_with_the_number_of_actors() -> None:
    assert check_interval_s(4) == MIN_INTERVAL_S
    assert 1408 / check_interval_s(1408) == pytest.approx(MAX_CHECKS_PER_S)
