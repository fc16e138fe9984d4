"""Mouse and keyboard input, each event awaited until the page has processed it."""

import asyncio
from typing import Any

from actors.browser.chromium.cdp import Answer, CdpSession
from actors.browser.chromium.virtual_clock import VirtualClock

LONGEST_TYPED = 200
KEY_CODES = {
    "Enter": 13,
    "Tab": 9,
    "Escape": 27,
    "Backspace": 8,
    "Delete": 46,
    "Home": 36,
    "End": 35,
    "PageUp": 33,
    "PageDown": 34,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Space": 32,
}
"""Windows virtual key codes of named keys, as Chromium requires."""
TYPED_BY_KEY = {"Enter": "\r", "Space": " "}


class PageInput:
    """One page's mouse and keyboard. Page time is stopped meanwhile."""

    def __init__(self, session: CdpSession, clock: VirtualClock) -> None:
        self.session = session
        self.clock = clock
        self._pressed = False

    async def point(self, x: float, y: float) -> None:
        """Moves the mouse to a viewport position."""
        await self._mouse("mouseMoved", x, y)

    async def click(self, x: float, y: float) -> None:
        """Moves the mouse, then presses and releases its left button."""
        await self.point(x, y)
        await self._mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        await self._mouse("mouseReleased", x, y, button="left", buttons=0, clickCount=1)

    async def double_click(self, x: float, y: float) -> None:
        """Clicks twice at a viewport position."""
        await self.click(x, y)
        await self._mouse("mousePressed", x, y, button="left", buttons=1, clickCount=2)
        await self._mouse("mouseReleased", x, y, button="left", buttons=0, clickCount=2)

    async def mouse(self, kind: str, x: float, y: float) -> None:
        """Moves the mouse, or presses or releases its left button there: `move`, `down`, `up`."""
        if kind == "move":
            pressed = {"button": "left", "buttons": 1} if self._pressed else {}
            await self._mouse("mouseMoved", x, y, **pressed)
        else:
            self._pressed = kind == "down"
            name = "mousePressed" if self._pressed else "mouseReleased"
            await self._mouse(name, x, y, button="left", buttons=int(self._pressed), clickCount=1)

    async def wheel(self, x: float, y: float, across: float, down: float) -> None:
        """Turns the mouse wheel at a viewport position, by CSS pixels."""
        await self._mouse("mouseWheel", x, y, deltaX=across, deltaY=down)

    async def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Presses the left button at a viewport position, moves in two steps and releases it."""
        await self.point(*start)
        await self._mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        for x, y in (middle, end):
            await self._mouse("mouseMoved", x, y, button="left", buttons=1)
        await self._mouse("mouseReleased", *end, button="left", buttons=0, clickCount=1)

    async def insert(self, text: str) -> None:
        """Replaces the selected text of the focused element; an empty text deletes it."""
        if text:
            await self._acted(self.session.post("Input.insertText", text=text))
        else:
            await self.press("Delete")

    async def type(self, text: str) -> None:
        """Types after the focused element's content, at most 200 characters."""
        await self.press("End")
        for character in text[:LONGEST_TYPED]:
            key = {"key": character, "text": character, "unmodifiedText": character}
            await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyDown", **key))
            await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyUp", key=character))

    async def press(self, key: str) -> None:
        """Presses and releases a key. Raises KeyError for an unknown name."""
        text = TYPED_BY_KEY.get(key, key if len(key) == 1 else "")
        code = 0 if text and key not in KEY_CODES else KEY_CODES[key]
        codes = {"windowsVirtualKeyCode": code, "key": " " if key == "Space" else key, "code": key}
        down = {"type": "keyDown", "text": text, "unmodifiedText": text} if text else {"type": "rawKeyDown"}
        await self._acted(self.session.post("Input.dispatchKeyEvent", **down, **codes))
        await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyUp", **codes))

    async def _mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        await self._acted(self.session.post("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more))

    async def _acted(self, acknowledged: Answer) -> None:
        """Draws this moment until the page has processed the input, which happens in frames."""
        while not acknowledged.done():
            await self.clock.draw()
            await asyncio.wait({acknowledged}, timeout=0.002)
        acknowledged.result()
