"""The portable engine's clock: virtual time in a whole Chromium, which schedules its own frames.

Scripts and timers run on page time; frames do not. Before each picture and at each step towards it, the clock waits for
a frame, so style, layout, observers and transition starts are current. Motion by frames alone (CSS and SVG animations,
smooth scrolling) is shown within a frame of its page time.
"""

import asyncio
import base64
import contextlib

from actors.browser.chromium.cdp import CommandRefused
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.virtual_clock import MOST_TRIES, NoPicture, VirtualClock

FRAME = "new Promise(requestAnimationFrame)"
"""Run in an isolated world, because the page's callbacks run on timers."""
FIRST_FRAME_S = 5.0
RETRY_S = 0.02


class RealTimeClock(VirtualClock):
    """Virtual time of one target, without control of its frames."""

    async def prime(self, ready: asyncio.Event) -> bool:
        """Waits for the document's first frame; False when it does not come."""
        await self._pass(1.0)
        await self._settle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_FRAME_S):
                await ready.wait()
        tree = await self.session.post("Page.getFrameTree")
        self._world = await IsolatedWorld.open(self.session, tree["frameTree"]["frame"]["id"])
        return ready.is_set()

    async def picture(self) -> bytes:
        """PNG of this moment. Retried, as there may be no frame yet after a load. Raises NoPicture."""
        await self.draw()
        for _ in range(MOST_TRIES):
            with contextlib.suppress(CommandRefused):
                answer = await self.session.post("Page.captureScreenshot", format="png", optimizeForSpeed=True)
                return base64.b64decode(answer["data"])
            await asyncio.sleep(RETRY_S)
        raise NoPicture(f"the browser took no screenshot at page time {self.now} ms, in {MOST_TRIES} tries")

    async def draw(self) -> None:
        """Waits for a frame with page time stopped."""
        await self._world(FRAME)
