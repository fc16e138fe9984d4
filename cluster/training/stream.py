"""Stream of groups: plays groups continuously and returns them as soon as a step has enough.

A step may learn from groups started during the `max_staleness` steps before it, and takes finished ones, oldest first.
A slow group delays no step: a later one uses it, or it is discarded as too stale. With `max_staleness` 0 training is
on-policy.

    begun in step s           learnt from in step s … s + max_staleness, or given up
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from cluster.settings import RunSettings
from cluster.training.concurrency import ConcurrencyTuner
from learner.losses.credit import teaches
from rollout.errors import MachineError, fault_summary
from rollout.records import Group

PlayGroup = Callable[[int, int], Awaitable[Group]]
"""Plays the group at `(step, place)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingGroup:
    """A group that was started and is not yet returned."""

    step: int
    place: int
    task: asyncio.Task[Group]

    @property
    def failed(self) -> bool:
        """Whether it ended with an error; failed groups are returned first."""
        return self.task.cancelled() or self.task.exception() is not None


class Stream:
    """Playing and finished groups, bounded by `in_flight` and by what the remaining steps can use."""

    def __init__(self, play: PlayGroup, settings: RunSettings, begun: Iterable[tuple[int, int]] = ()) -> None:
        """`begun` are the places of unfinished groups of an interrupted run; they are started again."""
        self.play, self.settings, self.pace = play, settings, ConcurrencyTuner(settings)
        self.begun = set(begun)
        self.playing: dict[asyncio.Task[Group], PendingGroup] = {}
        self.done: list[PendingGroup] = []
        """Finished groups in order of completion, not yet returned."""
        self.given_up = 0
        self._step, self._place, self._left = 0, 0, 0
        self._moved = asyncio.Event()
        self._handed_s: float | None = None

    async def collect(self, step: int, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Group]:
        """The groups of a step, in the order they were started, with refills (bounded) for groups without a signal.

        Raises MachineError when too many episodes were lost to machine faults.
        """
        settings = self.settings
        self._begin(step)
        taken: list[tuple[PendingGroup, Group]] = []
        wanted, most = settings.groups, settings.groups + math.floor(settings.groups * settings.refill)
        while len(taken) < wanted:
            flight = await self._next()
            group = flight.task.result()
            taken.append((flight, group))
            if wanted < most and not teaches(group, settings.learner):
                wanted += 1
                self._left += 1
                self._fill()
            progress(len(taken), wanted)
        self._handed_s = time.monotonic()
        groups = [group for _, group in sorted(taken, key=lambda pair: (pair[0].step, pair[0].place))]
        self._check_losses(groups)
        return groups

    def unlearnt(self) -> set[tuple[int, int]]:
        """Places of groups that a later step may use, including playing ones, which may finish at any moment."""
        flights = [*self.done, *self.playing.values()]
        return {(flight.step, flight.place) for flight in flights} | self.begun

    def metrics(self) -> dict[str, float]:
        """Target number of concurrent episodes, and groups discarded since the last call."""
        given_up, self.given_up = self.given_up, 0
        return {"in_flight": self.pace.groups() * self.settings.group_size, "groups_given_up": given_up}

    async def close(self) -> None:
        """Cancels all playing groups and discards finished ones; a later `collect` plays new ones."""
        self.done.clear()
        self.begun.clear()
        self._left = 0
        await self._cancel(list(self.playing))

    def _begin(self, step: int) -> None:
        """Discards groups that are too stale for this step, and starts those that it and later steps can use."""
        settings = self.settings
        if self._handed_s is not None and settings.max_staleness:
            self.pace.learnt(time.monotonic() - self._handed_s)
        self._step, self._place = step, 0
        oldest = step - settings.max_staleness
        stale = [flight for flight in self.playing.values() if flight.step < oldest]
        for flight in stale:
            flight.task.cancel()
            del self.playing[flight.task]
        fresh = [flight for flight in self.done if flight.step >= oldest or flight.failed]
        self.given_up += len(stale) + len(self.done) - len(fresh)
        self.done = fresh
        usable = {place for place in self.begun if place[0] >= oldest}
        self.given_up += len(self.begun) - len(usable)
        self.begun = usable
        for place in sorted(self.begun):
            if place[0] < step:  # Places of this step are started in their own order.
                self._begin_group(*place)
        steps = 1 + min(settings.max_staleness, settings.steps - step)
        self._left = steps * settings.groups - len(self.playing) - len(self.done)
        self._fill()

    def _fill(self) -> None:
        """Starts groups up to the concurrency limit and the number that can be used."""
        most = self.pace.groups()
        while self._left > 0 and len(self.playing) < most:
            self._begin_group(self._step, self._place)
            self._place += 1
            self._left -= 1

    def _begin_group(self, step: int, place: int) -> None:
        self.begun.discard((step, place))
        task = asyncio.ensure_future(self.play(step, place))
        self.playing[task] = PendingGroup(step=step, place=place, task=task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Group]) -> None:
        flight = self.playing.pop(task, None)
        self._moved.set()
        if flight is None:  # It was discarded.
            return
        self.done.append(flight)
        if not flight.failed:
            self.pace.played(task.result())
            self._fill()

    async def _next(self) -> PendingGroup:
        """Waits for, removes and returns the oldest finished group, failed ones first."""
        while not self.done:
            self._moved.clear()
            await self._moved.wait()
        flight = min(self.done, key=lambda one: (not one.failed, one.step))
        self.done.remove(flight)
        return flight

    async def _cancel(self, tasks: list[asyncio.Task[Group]]) -> None:
        for task in tasks:
            self.playing.pop(task, None)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check_losses(self, groups: list[Group]) -> None:
        lost = sum(group.dropped for group in groups)
        total = lost + sum(len(group.trajectories) for group in groups)
        if total and lost > self.settings.max_fault_share * total:
            faults = [fault for group in groups for fault in group.faults]
            raise MachineError(
                f"{lost} of {total} episodes of a step were lost to machine faults; wanted at most a share of "
                f"{self.settings.max_fault_share} (max_fault_share); {fault_summary(faults)}; mend it and resume"
            )
