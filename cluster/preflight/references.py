"""Validates the reference pages of task files: renders each once and caches the valid ones by content."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actors.settings import BrowserSettings
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from rollout.errors import BrowserFault, StorageFault, TaskFileError
from rollout.ports import Renderer
from rollout.records import Page, Probe, Render, Task, Viewport
from rollout.reference import reference_fault
from rollout.retry import Retries
from rollout.rows.fields import show
from rollout.together import gather_or_cancel

if TYPE_CHECKING:
    from cluster.distributed.pool import Pool

RULES = "1"
"""Version of the validity rules; increase it when a change may alter the validity of a page."""
LOOKS = {"viewport_width", "viewport_height", "shots_ms", "cpu_budget_s", "wall_s", "memory_mb"}
"""Browser settings that affect the validity of a page."""
RETRIES = 2
NAMED = 3
"""Tasks named in the error; further ones are counted."""
Progress = Callable[[int, int], None]
"""Progress callback: pages rendered, total."""


def no_progress(done: int, total: int) -> None:
    """Progress callback that does nothing."""


class Proven:
    """Cache file of valid references, one hash per line. Several processes may append to it concurrently."""

    def __init__(self, path: Path, renderer: str, settings: BrowserSettings) -> None:
        """`renderer` identifies browser, engine and fonts; a different one invalidates the entries."""
        self.path, self.depends = path, f"{RULES}/{renderer}/{settings.model_dump_json(include=LOOKS)}"
        self.known = set(path.read_text(encoding="ascii").split()) if path.is_file() else set[str]()

    def __contains__(self, task: Task) -> bool:
        return self.key(task) in self.known

    def add(self, task: Task) -> None:
        """Adds a task's reference. Raises StorageFault."""
        self.known.add(self.key(task))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{self.key(task)}\n")
        except OSError as error:
            raise StorageFault(f"cannot write {self.path}: {error.strerror or error}; free space there") from error

    def key(self, task: Task) -> str:
        """Hash of everything that the render depends on."""
        shown = f"{self.depends}/{Page(html=task.reference_html).sha256}/{' '.join(map(str, task.viewports))}"
        return hashlib.sha256(shown.encode()).hexdigest()


async def broken_references(
    tasks: Sequence[Task], renderer: Renderer, proven: Proven, *, at_once: int, progress: Progress = no_progress
) -> dict[str, str]:
    """Problems of references that do not render, by task id, in the order of `tasks`.

    Renders `at_once` pages concurrently. Raises BrowserFault when the browser of a page fails after RETRIES retries.
    """
    waiting = {proven.key(task): task for task in tasks if task.reference_html is not None and task not in proven}
    left, total, faults = list(reversed(waiting.items())), len(waiting), dict[str, str]()
    done = 0

    async def work() -> None:
        nonlocal done
        while left:
            key, task = left.pop()
            fault = await _fault(task, renderer)
            if fault:
                faults[key] = fault
            else:
                await asyncio.to_thread(proven.add, task)
            done += 1
            progress(done, total)

    await gather_or_cancel(*(work() for _ in range(min(at_once, total))))
    return {task.id: faults[key] for task in tasks if (key := proven.key(task)) in faults}


async def _fault(task: Task, renderer: Renderer) -> str:
    retries = Retries(f"reference page of task {task.id}", RETRIES, fault=BrowserFault)
    return await retries.call(lambda: reference_fault(task, renderer))


def check_rendered(faults: dict[str, str], source: str, num: int) -> None:
    """Raises TaskFileError, in one line, when some of the `num` references of a source do not render."""
    if not faults:
        return
    named = "; ".join(f"task {show(name)}: {fault}" for name, fault in list(faults.items())[:NAMED])
    more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    raise TaskFileError(
        f"{source}: {len(faults)} of {num} reference pages do not render: {named}{more}; fix or remove these tasks; "
        f"`python -m cluster.tasks check {source}` lists all of them"
    )


class Browsers:
    """A renderer over several browsers of this process, each with one page at a time."""

    def __init__(self, settings: BrowserSettings, num: int, cache: Path) -> None:
        from actors.browser.renderer import ChromiumRenderer

        self.all = [ChromiumRenderer(settings, cache=cache) for _ in range(num)]
        self.idle: asyncio.Queue[Renderer] = asyncio.Queue()

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`."""
        browser = await self.idle.get()
        try:
            return await browser.render(page, probes, viewports)
        finally:
            self.idle.put_nowait(browser)


@asynccontextmanager
async def browsers(settings: RunSettings, num: int | None = None) -> AsyncIterator[Browsers]:
    """Starts browsers in this process, one per core or at most `num`. Raises BrowserFault when they cannot start."""
    num = max(1, min(num or len(os.sched_getaffinity(0)), len(os.sched_getaffinity(0))))
    several = Browsers(settings.renderer, num, resolve_path(settings.cache) / "renders")
    try:
        await asyncio.gather(*(browser.start() for browser in several.all))
        for browser in several.all:
            several.idle.put_nowait(browser)
        yield several
    finally:
        await asyncio.gather(*(browser.stop() for browser in several.all))


def proven_at(settings: RunSettings, renderer: str) -> Proven:
    """The cache of valid references in the cache folder of the settings."""
    return Proven(resolve_path(settings.cache) / "references.txt", renderer, settings.browser)


async def check_here(
    tasks: Sequence[Task], settings: RunSettings, source: str, progress: Progress = no_progress
) -> None:
    """Checks references with browsers of this process. Raises TaskFileError in one line, or BrowserFault."""
    if all(task.reference_html is None for task in tasks):
        return
    async with browsers(settings, len(tasks)) as several:
        proven = proven_at(settings, several.all[0].name)
        faults = await broken_references(tasks, several, proven, at_once=len(several.all), progress=progress)
    check_rendered(faults, source, len(tasks))


async def check_with_actors(
    files: Mapping[str, Sequence[Task]], settings: RunSettings, progress: Progress = no_progress
) -> None:
    """Checks the references of several files with browser actors on the cluster, which are stopped afterwards.

    Raises TaskFileError in one line, and MachineError or CapacityError when browsers cannot start.
    """
    from actors.browser.renderer import ChromiumRenderer
    from cluster.distributed.launch import ActorLauncher
    from cluster.distributed.pool import Pool

    num = sum(task.reference_html is not None for tasks in files.values() for task in tasks)
    if not num:
        return
    launcher, at_once = ActorLauncher(settings), min(num, settings.browser.count)
    arguments = {
        "settings": settings.renderer,
        "put": without_pixels,
        "cache": resolve_path(settings.cache) / "renders",
    }
    try:
        bundle = launcher.bundle("browser", settings.cluster.browser_cpus)
        handles = await launcher.launch("browser", ChromiumRenderer, [arguments] * at_once, bundle, restarts=-1)
        await launcher.start("browser", handles, "start")
        pool = Pool("browser", handles, fault=BrowserFault, timeout_s=settings.cluster.call_timeout_s, limit=1)
        proven = proven_at(settings, await pool.ask("ping"))
        for source, tasks in files.items():
            faults = await broken_references(tasks, _Asked(pool), proven, at_once=at_once, progress=progress)
            check_rendered(faults, source, len(tasks))
        pool.close()
    finally:
        await launcher.close()


def without_pixels(png: bytes) -> None:
    """Discards the screenshots of a render, which this check does not need."""


class _Asked:
    """Renderer port over a pool of browsers."""

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        render: Render = await self.pool.ask("render", page, probes, viewports)
        return render
