"""Stream of groups: plays groups continuously and returns them as soon as a step has enough.

A step may learn from groups started during the `max_staleness` steps before it, and takes finished ones, oldest first.
A slow group delays no step: a later one uses it, or it is discarded as too stale. With `max_staleness` 0 training is
on-policy.

    begun in step s           learnt from in step s … s + max_staleness, or given up
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence

from cluster.settings import RunSettings
from cluster.training.concurrency import ConcurrencyTuner
from cluster.training.group_tasks import GroupTask, GroupTasks, PlayGroup
from learner.losses.credit import has_signal
from rollout.errors import MachineError, fault_summary
from rollout.records import Group


class Stream:
    """Playing and finished groups, bounded by `in_flight` and by what the remaining steps can use."""

    def __init__(self, play: PlayGroup, settings: RunSettings, begun: Iterable[tuple[int, int]] = ()) -> None:
        """`begun` are the places of unfinished groups of an interrupted run; they are started again."""
        self.settings = settings
        self.pace = ConcurrencyTuner(settings)
        self.tasks = GroupTasks(play, self._finished)
        self.begun = set(begun)
        self.given_up = 0
        """Groups discarded since the last call of `metrics`."""
        self._step = 0
        self._place = 0
        """Place of the next group to start in the current step."""
        self._left = 0
        """Number of groups still to start."""
        self._handed_s: float | None = None
        """Time at which `collect` last returned."""

    async def collect(self, step: int, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Group]:
        """The groups of a step, in the order they were started, with refills (bounded) for groups without a signal.

        Raises MachineError when too many episodes were lost to machine faults.
        """
        settings = self.settings
        self._begin(step)
        taken: list[tuple[GroupTask, Group]] = []
        wanted = settings.groups
        most = settings.groups + math.floor(settings.groups * settings.refill)
        while len(taken) < wanted:
            started = await self.tasks.take()
            group = started.task.result()
            taken.append((started, group))
            if wanted < most and not has_signal(group, settings.learner):
                wanted += 1
                self._left += 1
                self._fill()
            progress(len(taken), wanted)
        self._handed_s = time.monotonic()
        groups = [group for _, group in sorted(taken, key=lambda pair: (pair[0].step, pair[0].place))]
        check_losses(groups, settings.max_fault_share)
        return groups

    def unlearnt(self) -> set[tuple[int, int]]:
        """Places of groups that a later step may use, including playing ones, which may finish at any moment."""
        return self.tasks.places() | self.begun

    def metrics(self) -> dict[str, float]:
        """Target number of concurrent episodes, and groups discarded since the last call."""
        given_up = self.given_up
        self.given_up = 0
        return {"in_flight": self.pace.groups() * self.settings.group_size, "groups_given_up": given_up}

    async def close(self) -> None:
        """Cancels all playing groups and discards finished ones; a later `collect` plays new ones."""
        self.begun.clear()
        self._left = 0
        await self.tasks.clear()

    def _begin(self, step: int) -> None:
        """Discards groups that are too stale for this step, and starts those that it and later steps can use."""
        settings = self.settings
        if self._handed_s is not None and settings.max_staleness:
            self.pace.learnt(time.monotonic() - self._handed_s)
        self._step = step
        self._place = 0
        oldest = step - settings.max_staleness
        usable = {place for place in self.begun if place[0] >= oldest}
        self.given_up += self.tasks.discard_before(oldest) + len(self.begun) - len(usable)
        self.begun = usable
        for place in sorted(self.begun):
            if place[0] < step:  # Places of this step are started in their own order.
                self._start(*place)
        steps = 1 + min(settings.max_staleness, settings.steps - step)
        self._left = steps * settings.groups - len(self.tasks)
        self._fill()

    def _fill(self) -> None:
        """Starts groups up to the concurrency limit and the number that can be used."""
        most = self.pace.groups()
        while self._left > 0 and len(self.tasks.playing) < most:
            self._start(self._step, self._place)
            self._place += 1
            self._left -= 1

    def _start(self, step: int, place: int) -> None:
        self.begun.discard((step, place))
        self.tasks.start(step, place)

    def _finished(self, group: Group) -> None:
        self.pace.played(group)
        self._fill()


def check_losses(groups: Sequence[Group], max_fault_share: float) -> None:
    """Raises MachineError when a larger share of the groups' episodes was lost to machine faults."""
    lost = sum(group.dropped for group in groups)
    total = lost + sum(len(group.trajectories) for group in groups)
    if total and lost > max_fault_share * total:
        faults = [fault for group in groups for fault in group.faults]
        raise MachineError(
            f"{lost} of {total} episodes of a step were lost to machine faults; wanted at most a share of "
            f"{max_fault_share} (max_fault_share); {fault_summary(faults)}; fix the cause and resume"
        )
