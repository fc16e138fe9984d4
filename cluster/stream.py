"""The stream of groups: played ahead as far as staleness allows, handed over step by step.

The groups of step s may begin once the weights are at most `max_staleness` versions behind what step s
will update, that is from step s − max_staleness on. With 0 nothing is played ahead and training is on-policy.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

from cluster.settings import RunSettings
from learner.credit import teaches
from rollout.errors import MachineError
from rollout.records import Group

PlayGroup = Callable[[int, int], Awaitable[Group]]
"""Plays the group at `(step, place)`."""


class Stream:
    """Groups in flight, by step and place. Bounded: at most `in_flight` episodes are played at once."""

    def __init__(self, play: PlayGroup, settings: RunSettings) -> None:
        self.play = play
        self.settings = settings
        self.room = asyncio.Semaphore(max(1, settings.in_flight // settings.group_size))
        self.tasks: dict[tuple[int, int], asyncio.Task[Group]] = {}

    async def collect(self, step: int, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Group]:
        """The groups of a step in their order, refilled (bounded) for those that teach nothing.

        Raises MachineError when too many episodes were lost to machine faults.
        """
        for near in range(step, min(step + self.settings.max_staleness, self.settings.steps) + 1):
            for place in range(self.settings.groups):
                self._start(near, place)
        groups: list[Group] = []
        wanted, place = self.settings.groups, 0
        most = wanted + math.floor(wanted * self.settings.refill)
        while place < wanted:
            groups.append(await self._start(step, place))
            place += 1
            progress(place, wanted)
            if place == wanted and wanted < most:
                wanted = min(
                    most,
                    wanted
                    + sum(not teaches(group, self.settings.learner) for group in groups)
                    - (wanted - self.settings.groups),
                )
                for extra in range(place, wanted):
                    self._start(step, extra)
        self.tasks = {key: task for key, task in self.tasks.items() if key[0] > step}
        self._check_losses(groups)
        return groups

    async def close(self) -> None:
        """Cancels what is still in flight; what is collected after that is played anew."""
        flying, self.tasks = self.tasks, {}
        for task in flying.values():
            task.cancel()
        await asyncio.gather(*flying.values(), return_exceptions=True)

    def _start(self, step: int, place: int) -> asyncio.Task[Group]:
        key = (step, place)
        if key not in self.tasks:
            self.tasks[key] = asyncio.create_task(self._play(step, place), name=f"group {place} of step {step}")
        return self.tasks[key]

    async def _play(self, step: int, place: int) -> Group:
        async with self.room:
            return await self.play(step, place)

    def _check_losses(self, groups: list[Group]) -> None:
        lost = sum(group.dropped for group in groups)
        total = lost + sum(len(group.trajectories) for group in groups)
        if total and lost > self.settings.max_fault_share * total:
            raise MachineError(
                f"{lost} of {total} episodes of a step were lost to machine faults; wanted at most a share of "
                f"{self.settings.max_fault_share} (max_fault_share); see the log for what failed, mend it and resume"
            )
