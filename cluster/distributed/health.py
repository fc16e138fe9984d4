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

LEAST_INTERVAL_S = 2.0
"""Minimum seconds between two checks of one actor."""
MOST_LOOKS_A_S = 3.0
"""Maximum checks per second over all actors, so that the cost to the driver does not grow with the cluster."""
LOOK_TIMEOUT_S = 30.0
Tell = Callable[[str, int, int], None]


class PoolHealth:
    """Lost actors of one pool; calls `tell(pool name, number healthy, number lost)` at the start and on each change."""

    def __init__(self, pool: Pool, tell: Tell) -> None:
        self.pool, self.tell, self.lost = pool, tell, set[int]()
        self._say()

    def mark(self, place: int, *, well: bool) -> None:
        """Records the result of one health check."""
        if well is (place in self.lost):
            (self.lost.discard if well else self.lost.add)(place)
            self._say()

    def _say(self) -> None:
        self.tell(self.pool.name, len(self.pool.handles) - len(self.lost), len(self.lost))


async def monitor_actors(
    irreplaceable: list[Pool],
    replaceable: list[Pool],
    note: Callable[[str], None],
    tell: Tell,
    every_s: float | None = None,
) -> None:
    """Monitors all actors of the given pools until cancelled. Raises MachineError when an irreplaceable one is lost.

    `every_s` is the interval between checks of one actor; the default depends on the number of actors.
    """
    pools = (*irreplaceable, *replaceable)
    if every_s is None:
        every_s = look_interval_s(sum(len(pool.handles) for pool in pools))
    watches = []
    for pool in pools:
        roll = PoolHealth(pool, tell)
        for place in range(len(pool.handles)):
            alone = pool in irreplaceable
            watches.append(_guard(roll, place, every_s) if alone else _follow(roll, place, note, every_s))
    tasks = [asyncio.create_task(watch) for watch in watches]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def look_interval_s(actors: int) -> float:
    """Seconds between two checks of one actor, given the number of actors."""
    return max(LEAST_INTERVAL_S, actors / MOST_LOOKS_A_S)


async def _guard(roll: PoolHealth, place: int, every_s: float) -> None:
    while True:
        try:
            await roll.pool.ask_one(place, "ping")
        except MachineError:
            roll.mark(place, well=False)
            raise
        await asyncio.sleep(every_s)


async def _follow(roll: PoolHealth, place: int, note: Callable[[str], None], every_s: float) -> None:
    """Monitors one replaceable actor; notes its loss, restart and news."""
    name, life, lost = f"{roll.pool.name}-{place}", 0, False
    while True:
        try:
            now, news = await roll.pool.ask_one(place, "__ray_call__", look, timeout_s=LOOK_TIMEOUT_S)
        except MachineError as fault:
            if not lost:
                note(f"lost {name}: {str(fault).partition(': ')[2]}")
            lost = True
        else:
            if lost or life not in (0, now):
                note(f"{name} answers again" if life == now else f"{name} was made again")
            life, lost = now, False
            for words in news:
                note(f"{name}: {words}")
        roll.mark(place, well=not lost)
        await asyncio.sleep(every_s)


def look(actor: Any) -> tuple[int, tuple[str, ...]]:
    """Runs inside an actor: returns its process id and what it lost and recovered since the last check."""
    return os.getpid(), actor.news() if hasattr(actor, "news") else ()
