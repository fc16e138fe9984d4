"""Tasks of groups: starts groups, keeps the finished ones in order, and discards stale ones."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rollout.records import Group

PlayGroup = Callable[[int, int], Awaitable[Group]]
"""Plays the group at `(step, place)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTask:
    """A group that was started and is not yet taken."""

    step: int
    place: int
    task: asyncio.Task[Group]

    @property
    def failed(self) -> bool:
        """Whether it ended with an error; failed groups are taken first."""
        return self.task.cancelled() or self.task.exception() is not None


class GroupTasks:
    """Groups that are playing or finished."""

    def __init__(self, play: PlayGroup, finished: Callable[[Group], None]) -> None:
        """`finished` is called with each group that ends without an error, unless it was discarded."""
        self._play, self._finished = play, finished
        self.playing: dict[asyncio.Task[Group], GroupTask] = {}
        self.done: list[GroupTask] = []
        """Finished groups in order of completion, not yet taken."""
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self.playing) + len(self.done)

    def places(self) -> set[tuple[int, int]]:
        """`(step, place)` of all groups, including playing ones, which may finish at any moment."""
        return {(group.step, group.place) for group in (*self.done, *self.playing.values())}

    def start(self, step: int, place: int) -> None:
        """Starts a group."""
        task = asyncio.ensure_future(self._play(step, place))
        self.playing[task] = GroupTask(step=step, place=place, task=task)
        task.add_done_callback(self._finish)

    async def take(self) -> GroupTask:
        """Waits for, removes and returns the oldest finished group, failed ones first."""
        while not self.done:
            await self.wait()
        oldest = min(self.done, key=lambda group: (not group.failed, group.step))
        self.done.remove(oldest)
        return oldest

    async def wait(self) -> None:
        """Waits for a group to finish."""
        self._changed.clear()
        await self._changed.wait()

    def discard_before(self, step: int) -> int:
        """Discards groups started for an earlier step, except failed ones. Returns their number."""
        stale = [group for group in self.playing.values() if group.step < step]
        for group in stale:
            group.task.cancel()
            del self.playing[group.task]
        kept = [group for group in self.done if group.step >= step or group.failed]
        num = len(stale) + len(self.done) - len(kept)
        self.done = kept
        return num

    async def clear(self) -> None:
        """Cancels all playing groups and discards finished ones."""
        self.done.clear()
        tasks = list(self.playing)
        self.playing.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finish(self, task: asyncio.Task[Group]) -> None:
        group = self.playing.pop(task, None)
        self._changed.set()
        if group is None:  # It was discarded.
            return
        self.done.append(group)
        if not group.failed:
            self._finished(task.result())
