"""Limits of a page's CPU time and wall-clock time."""

import asyncio
import time
from collections.abc import Callable

from actors.browser.chromium.cpu_effort import CpuUse
from actors.browser.chromium.static_page import has_frames
from actors.browser.chromium.virtual_clock import VirtualClock
from actors.settings import BrowserSettings
from rollout.records import Outcome

CHECK_EVERY_S = 0.25
IDLE_CPU_S = 0.5
"""CPU seconds below which an unfinished page has not run; the slowest benign pages need as much."""


class Stalled(Exception):
    """The wall-clock timeout passed before the CPU budget was used: the page's fault, or the machine's."""

    def __init__(self, wall_s: float, cpu_s: float, *, heavy: bool) -> None:
        super().__init__(f"the page was not done after {wall_s:g} s, with {cpu_s:.1f} s of CPU used")
        self.idle = cpu_s < IDLE_CPU_S
        """Whether the page hardly ran, so another process must have delayed it."""
        self.heavy = heavy and not self.idle
        """Whether frames took the time."""


class PageLimits:
    """Measures a page against `cpu_budget_s` and `wall_s`, from its creation. `html` is the page's source."""

    def __init__(
        self, effort: CpuUse, clock: VirtualClock, settings: BrowserSettings, *, html: str, frames_per_s: int
    ) -> None:
        self.effort = effort
        self.clock = clock
        self.settings = settings
        self.html = html
        self.frames_per_s = frames_per_s
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return time.monotonic() - self.started

    async def watch(self, end: Callable[[Outcome, str], None]) -> None:
        """Calls `end` for a page that used up its CPU budget. Raises Stalled on the wall-clock timeout."""
        budget = self.settings.cpu_budget_s
        wall = self.settings.wall_s
        while (passed := self.seconds) < wall:
            await asyncio.sleep(CHECK_EVERY_S)
            if passed < 0.8 * budget:  # CPU time cannot exceed wall time, except with threads
                continue
            await self.effort.count()
            if self.effort.cpu_s > budget:
                used = f"the page used more than {budget:g} s of CPU"
                frames = f", {self.frames_per_s} frames a second of page time"
                return end("too_heavy", used + frames) if self._heavy() else end("timeout", used)
        await self.effort.count()
        raise Stalled(wall, self.effort.cpu_s, heavy=self._heavy())

    def _heavy(self) -> bool:
        """Whether frames took the time: the GPU process used over half of it, or page time advances on a page that may
        animate."""
        now = time.monotonic()
        moving = now - self.clock.moved < (now - self.started) / 2 and has_frames(self.html)
        return self.effort.gpu_s > self.effort.cpu_s / 2 or moving
