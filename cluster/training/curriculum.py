"""Order of training tasks, determined by the seed, so that a resumed run continues with the same tasks."""

import random
from dataclasses import replace
from pathlib import Path

from actors.mirror.folder import Mirror
from actors.settings import BrowserSettings
from cluster.settings import RunSettings
from reward.designs import tasks as builtin_tasks
from rollout.errors import TaskFileError
from rollout.records import Task
from rollout.tasks import read_tasks

BUILTIN_POOL = 4096
"""Built-in training tasks generated per epoch, out of more than a million."""


class Curriculum:
    """Training tasks by step, and the held-out tasks of the exam."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.pools: dict[int, list[Task]] = {}
        self.libraries = libraries_of(settings.browser)
        source, held_out = settings.task.source, settings.task.held_out
        self.file_tasks = None if source == "builtin" else read_tasks(Path(source))
        self.file_held_out = None if held_out == "builtin" else read_tasks(Path(held_out))

    def task(self, step: int, place: int) -> Task:
        """The task at a place of a step; places from `groups` on are refills of that step."""
        per_step = self.settings.groups * 2
        index = (step - 1) * per_step + place if self.file_tasks is None else self._in_order(step, place)
        pool = self._pool(index)
        return replace(pool[index % len(pool)], libraries=self.libraries)

    def held_out(self, num: int, setting: str = "exam.tasks") -> list[Task]:
        """The first `num` held-out tasks, always the same.

        Raises TaskFileError when the file has fewer than `setting` requests.
        """
        tasks = self.file_held_out
        if tasks is None:
            tasks = builtin_tasks(num, seed=0, split="held_out")
        if len(tasks) < num:
            source = self.settings.task.held_out
            raise TaskFileError(f"{source}: {setting} is {num}, the file has {len(tasks)} tasks; lower {setting}")
        return [replace(task, libraries=self.libraries) for task in tasks[:num]]

    def _in_order(self, step: int, place: int) -> int:
        # Refills come from the far end of the epoch, so that regular tasks keep their order.
        groups = self.settings.groups
        return (step - 1) * groups + place if place < groups else -((step - 1) * groups + place)

    def _pool(self, index: int) -> list[Task]:
        size = BUILTIN_POOL if self.file_tasks is None else len(self.file_tasks)
        epoch = index // size
        if epoch not in self.pools:
            self.pools = {epoch: self._draw(epoch)}
        return self.pools[epoch]

    def _draw(self, epoch: int) -> list[Task]:
        seed = self.settings.seed
        if self.file_tasks is None:
            return builtin_tasks(BUILTIN_POOL, seed=seed * 100_003 + epoch, split="train")
        tasks = list(self.file_tasks)
        random.Random(f"{seed}/{epoch}").shuffle(tasks)
        return tasks


def libraries_of(settings: BrowserSettings) -> tuple[str, ...]:
    """Libraries and fonts that pages may load, for the prompt. Raises SettingsError if `browser.mirror` is invalid."""
    if settings.mirror is None:
        return ()
    mirror = Mirror(settings.mirror)
    fonts = (f"the fonts {', '.join(mirror.fonts)}",) if mirror.fonts else ()
    return (*mirror.libraries, *fonts)
