"""Full-page screenshots: scrolls through the page once, then captures it by viewports from the top.

Captures use an emulated viewport unobserved by the page, which is neither scrolled nor resized: elements as tall as the
viewport keep their height, and fixed ones are drawn once, in the first. Start the browser with `WHOLE_FLAGS`.
"""

import asyncio
import io
import json
from collections.abc import Sequence
from typing import Any

from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.scripts import TOOLS
from actors.browser.chromium.virtual_clock import VirtualClock

LEAST_MORE = 48
"""Minimum pixels beyond the viewport for a picture; margins and the gap below a canvas are less."""
STOP_MS = 200.0
"""Page time per viewport while scrolling down, in milliseconds."""
REST_MS = 1500.0
"""Page time at the top before the picture in milliseconds, for scroll effects to finish."""
REACH = (
    "(() => {"
    + TOOLS
    + """
const root = rootOf(document), body = bodyOf(document), moves = get(Document, 'scrollingElement')(document) || root;
const overflow = element => element ? getComputedStyle(element).overflowY : 'visible';
const locked = ['hidden', 'clip'].includes(overflow(root) === 'visible' ? overflow(body) : overflow(root));
return JSON.stringify([locked || !moves ? innerHeight : Math.max(innerHeight, get(Element, 'scrollHeight')(moves)),
  scrollX, scrollY].map(Math.round));
})()"""
)
"""The page's scrollable height and its scroll position, in CSS pixels."""


class WholePage:
    """Captures a page up to `most` pixels from its top; `size` is the viewport in CSS pixels."""

    def __init__(self, clock: VirtualClock, world: IsolatedWorld, size: tuple[int, int], most: int) -> None:
        self.clock = clock
        self.world = world
        self.most = most
        self.width, self.height = size

    async def picture(self, first: bytes, *, still: bool) -> tuple[bytes, int] | None:
        """A PNG and the page's height, which may exceed the PNG's; None if the viewport shows all of it.

        `first` is the current viewport's PNG. A `still` page is not scrolled through: nothing can appear.
        """
        reach, *place = await self._reach()
        if min(reach, self.most) < self.height + LEAST_MORE:
            return None
        if not still:
            first = await self._scroll_through()
            reach, *_ = await self._reach()
        screens = [first]
        tall = max(self.height, min(reach, self.most))
        for top in range(self.height, tall, self.height):
            await self._emulate(viewport={"x": 0, "y": top, "width": self.width, "height": self.height, "scale": 1})
            screens.append(await self.clock.picture())
        await self._emulate()
        if any(place):
            await self._scroll_to(*place)
        return await asyncio.to_thread(stack, screens, tall), reach

    async def _scroll_through(self) -> bytes:
        """Scrolls down viewport by viewport, following a growing page within limits. Returns the PNG of the top."""
        at = 0
        for _ in range(-(-self.most // self.height)):
            reach, *_ = await self._reach()
            last = min(reach, self.most) - self.height
            if at >= last:
                break
            at = min(at + self.height, last)
            await self._scroll_to(0, at)
            await self.clock.run(STOP_MS)
        await self._scroll_to(0, 0)
        return await self.clock.picture_at(self.clock.now + REST_MS)

    async def _scroll_to(self, left: int, top: int) -> None:
        """Scrolls without animation, and draws so that the page receives the event."""
        await self.world(f"void scrollTo({{left: {left}, top: {top}, behavior: 'instant'}})")
        await self.clock.draw()

    async def _reach(self) -> list[int]:
        return list(json.loads(await self.world(REACH)))

    async def _emulate(self, **viewport: Any) -> None:
        size = {"width": self.width, "height": self.height}
        await self.clock.session.post(
            "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False, **viewport
        )


def stack(screens: Sequence[bytes], tall: int) -> bytes:
    """Stacks PNGs of one size vertically, cut off after `tall` pixels."""
    from PIL import Image

    whole: Any = None
    top = 0
    for png in screens:
        with Image.open(io.BytesIO(png)) as screen:
            whole = whole or Image.new("RGB", (screen.width, tall))
            whole.paste(screen.convert("RGB"), (0, top))
            top += screen.height
    assert whole is not None, "a page has a screen"
    data = io.BytesIO()
    whole.save(data, "PNG", compress_level=1)
    return data.getvalue()
