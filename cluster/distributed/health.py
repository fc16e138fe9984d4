"""The vigil: looks at every actor now and then, and says who was lost, who is back, and what they mended themselves.

The pools go on without waiting for any of this; it is how display, report and gauges come to hear of it. Those whom
nobody can stand in for, policy engines and learner ranks, end the vigil when they are lost: then a new crew is due.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from cluster.distributed.pool import Pool
from rollout.errors import MachineError

LEAST_INTERVAL_S = 2.0
"""Between two looks at an actor, at least."""
MOST_LOOKS_A_S = 3.0
"""At all actors together, at most: what the vigil costs the driver must not grow with the cluster."""
LOOK_TIMEOUT_S = 30.0
Tell = Callable[[str, int, int], None]


class PoolHealth:
    """Who of a pool is lost; `tell` hears the pool's name and how many are well and lost, now and at each change."""

    def __init__(self, pool: Pool, tell: Tell) -> None:
        self.pool, self.tell, self.lost = pool, tell, set[int]()
        self._say()

    def mark(self, place: int, *, well: bool) -> None:
        """One of them was looked at."""
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
    """Watches all actors of some pools, without end. Raises MachineError when an irreplaceable one is lost.

    `every_s` lies between two looks at an actor; by default it follows from how many there are.
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
    """Seconds between two looks at one of so many actors."""
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
    """Notes what becomes of one actor, which Ray makes again when it dies."""
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
    """Runs in an actor: which life it is in, by its process, and what it lost and mended since the last look."""
    return os.getpid(), actor.news() if hasattr(actor, "news") else ()
