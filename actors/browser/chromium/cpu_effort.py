"""Measures a page's CPU time, of renderers and of the GPU process, which draws WebGL and the screen."""

import asyncio
import contextlib

from actors.browser.chromium.cdp import CdpPipe

COUNT_TIMEOUT_S = 2.0
COUNTED = ("renderer", "GPU")


class CpuUse:
    """CPU seconds since `start`, as last counted."""

    def __init__(self, pipe: CdpPipe) -> None:
        self.pipe = pipe
        self.cpu_s = 0.0
        self.gpu_s = 0.0
        """CPU seconds of the GPU process alone."""
        self._before: dict[int, float] = {}
        """CPU seconds of processes before the page."""

    async def start(self) -> None:
        """Sets the baseline, before the page's processes exist."""
        self._before = {row: seconds for row, (_, seconds) in (await self._processes()).items()}

    async def count(self) -> None:
        """Counts the CPU seconds so far; keeps the last count if the browser does not answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNT_TIMEOUT_S):
                used = {"renderer": 0.0, "GPU": 0.0}
                for process, (kind, seconds) in (await self._processes()).items():
                    used[kind] += max(0.0, seconds - self._before.get(process, 0.0))
                self.cpu_s = sum(used.values())
                self.gpu_s = used["GPU"]

    async def _processes(self) -> dict[int, tuple[str, float]]:
        """Kind and CPU seconds of processes; a whole browser also has renderers for its own windows."""
        answer = await self.pipe.post("SystemInfo.getProcessInfo")
        rows = (row for row in answer["processInfo"] if row["type"] in COUNTED)
        return {row["id"]: (row["type"], float(row["cpuTime"])) for row in rows}
