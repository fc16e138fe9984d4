"""How much CPU a page uses, in the processes that show documents and in the one that draws WebGL and the screen."""

import asyncio
import contextlib

from actors.browser.chromium.cdp import CdpPipe

COUNT_TIMEOUT_S = 2.0
COUNTED = ("renderer", "GPU")


class CpuUse:
    """CPU seconds since `start`, as far as they were counted."""

    def __init__(self, pipe: CdpPipe) -> None:
        self.pipe = pipe
        self.cpu_s = self.gpu_s = 0.0
        """All of it, and the GPU process's part."""
        self._before: dict[int, float] = {}
        """What processes that were there before the page had used by then."""

    async def start(self) -> None:
        """Before the page's own processes are there."""
        self._before = {row: seconds for row, (_, seconds) in (await self._processes()).items()}

    async def count(self) -> None:
        """Looks at the CPU used so far; a browser that does not even say so leaves it at what was seen last."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNT_TIMEOUT_S):
                used = {"renderer": 0.0, "GPU": 0.0}
                for process, (kind, seconds) in (await self._processes()).items():
                    used[kind] += max(0.0, seconds - self._before.get(process, 0.0))
                self.cpu_s, self.gpu_s = sum(used.values()), used["GPU"]

    async def _processes(self) -> dict[int, tuple[str, float]]:
        """Kind and seconds of CPU by process: a whole browser has renderers for its own windows too."""
        answer = await self.pipe.post("SystemInfo.getProcessInfo")
        rows = (row for row in answer["processInfo"] if row["type"] in COUNTED)
        return {row["id"]: (row["type"], float(row["cpuTime"])) for row in rows}
