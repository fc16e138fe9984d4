"""Health monitor: checks every actor periodically and reports those lost, restarted, or recovered by themselves.

It feeds display, report and gauges; the pools do not depend on it. The loss of an irreplaceable actor (policy engine,
learner rank) ends it with MachineError, and new actors must be launched.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from cluster.distributed.pool import Pool
from rollout.errors import MachineError

MIN_INTERVAL_S = 2.0
"""Minimum seconds between two checks of one actor."""
MAX_CHECKS_PER_S = 3.0
"""Maximum checks per second over all actors, so that the cost to the driver does not grow with the cluster."""
CHECK_TIMEOUT_S = 30.0
Report = Callable[[str, int, int], None]


class PoolHealth:
    """Lost actors of one pool; calls `report(pool name, num healthy, num lost)` at the start and on each change."""

    def __init__(self, pool: Pool, report: Report) -> None:
        self.pool = pool
        self.report = report
        self.lost = set[int]()
        self._report()

    def record(self, place: int, *, healthy: bool) -> None:
        """Records the result of one health check."""
        if healthy is (place in self.lost):
            (self.lost.discard if healthy else self.lost.add)(place)
            self._report()

    def _report(self) -> None:
        self.report(self.pool.name, len(self.pool.handles) - len(self.lost), len(self.lost))


async def monitor_actors(
    irreplaceable: list[Pool],
    replaceable: list[Pool],
    note: Callable[[str], None],
    report: Report,
    every_s: float | None = None,
) -> None:
    """Monitors all actors of the given pools until cancelled. Raises MachineError when an irreplaceable one is lost.

    `every_s` is the interval between checks of one actor; the default depends on the number of actors.
    """
    pools = (*irreplaceable, *replaceable)
    if every_s is None:
        every_s = check_interval_s(sum(len(pool.handles) for pool in pools))
    watches = []
    for pool in pools:
        health = PoolHealth(pool, report)
        for place in range(len(pool.handles)):
            if pool in irreplaceable:
                watches.append(_watch_irreplaceable(health, place, every_s))
            else:
                watches.append(_watch_replaceable(health, place, note, every_s))
    tasks = [asyncio.create_task(watch) for watch in watches]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_interval_s(actors: int) -> float:
    """Seconds between two checks of one actor, given the number of actors."""
    return max(MIN_INTERVAL_S, actors / MAX_CHECKS_PER_S)


async def _watch_irreplaceable(health: PoolHealth, place: int, every_s: float) -> None:
    while True:
        try:
            await health.pool.ask_one(place, "ping")
        except MachineError:
            health.record(place, healthy=False)
            raise
        await asyncio.sleep(every_s)


async def _watch_replaceable(health: PoolHealth, place: int, note: Callable[[str], None], every_s: float) -> None:
    """Monitors one replaceable actor; notes its loss, restart and news."""
    name = f"{health.pool.name}-{place}"
    process = 0  # process id at the last successful check
    lost = False
    while True:
        try:
            now, news = await health.pool.ask_one(place, "__ray_call__", check_actor, timeout_s=CHECK_TIMEOUT_S)
        except MachineError as fault:
            if not lost:
                note(f"lost {name}: {str(fault).partition(': ')[2]}")
            lost = True
        else:
            if lost or process not in (0, now):
                note(f"{name} answers again" if process == now else f"{name} restarted")
            process = now
            lost = False
            for item in news:
                note(f"{name}: {item}")
        health.record(place, healthy=not lost)
        await asyncio.sleep(every_s)


def check_actor(actor: Any) -> tuple[int, tuple[str, ...]]:
    """Runs inside an actor: returns its process id and what it lost and recovered since the last check."""
    return os.getpid(), actor.news() if hasattr(actor, "news") else ()
