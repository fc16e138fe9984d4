"""Operates a page as a person would, with real input, and looks whether it does what was asked.

Probes run in order on one page: each starts from the state the one before left. An action that was acknowledged
is followed by one step of page time. An expectation may come true late: it is looked at now and after each of
five steps (500 ms of page time), and holds at the first look that finds it so.
"""

import asyncio
import json
from typing import Any, TypedDict

from actors.chromium.clock import STEP_MS, FrameClock
from actors.chromium.pipe import Answer, Session
from actors.chromium.scripts import look
from actors.chromium.world import World
from rollout.records import Probe, ProbeResult, ProbeStep

PATIENCE_STEPS = 5
LONGEST_WAIT_MS = 10_000.0
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
"""Windows virtual key codes, which Chromium wants, of the keys that have a name."""
TYPED_BY_KEY = {"Enter": "\r", "Space": " "}


class Element(TypedDict):
    """What the looking script says of the first element a selector matches."""

    x: float
    y: float
    text: str
    visible: bool
    value: str | None
    matches: bool


class Unmet(Exception):
    """A step could not be done, or an expectation did not come true: what, got, wanted."""


class Operator:
    """Works one page's probes."""

    def __init__(self, session: Session, clock: FrameClock, world: World) -> None:
        self.session, self.clock, self.world = session, clock, world
        self._before = b""

    async def perform(self, probe: Probe) -> ProbeResult:
        """Does the steps in order until one fails."""
        if any(step.kind == "expect_change" for step in probe.steps):
            self._before = await self.clock.picture()
        for number, step in enumerate(probe.steps, start=1):
            try:
                await self._step(step)
            except Unmet as reason:
                return ProbeResult(name=probe.name, held=False, detail=f"step {number}, {step.kind}: {reason}")
        return ProbeResult(name=probe.name, held=True)

    async def _step(self, step: ProbeStep) -> None:
        if step.kind == "wait":
            await self.clock.run(min(float(step.value), LONGEST_WAIT_MS))
        elif step.kind == "press":
            await self._press(step.value)
            await self.clock.run(STEP_MS)
        elif step.kind in ("click", "type", "hover"):
            await self._point(step)
            await self.clock.run(STEP_MS)
        else:
            await self._expect(step)

    async def _point(self, step: ProbeStep) -> None:
        """Moves the mouse to an element; clicks it; types into it what is to be typed, after what it holds."""
        found = await self._find(step, bring=True)
        if found is None or not found["visible"]:
            raise Unmet(f"{step.selector!r} {'matches nothing' if found is None else 'is not visible'}")
        await self._mouse("mouseMoved", found)
        if step.kind == "hover":
            return
        await self._mouse("mousePressed", found, button="left", buttons=1, clickCount=1)
        await self._mouse("mouseReleased", found, button="left", buttons=0, clickCount=1)
        if step.kind == "type":
            await self._press("End")
            await self._type(step.value[:LONGEST_TYPED])

    async def _mouse(self, kind: str, at: Element, **more: Any) -> None:
        await self._acted(self.session.post("Input.dispatchMouseEvent", type=kind, x=at["x"], y=at["y"], **more))

    async def _type(self, text: str) -> None:
        for character in text:
            key = {"key": character, "text": character, "unmodifiedText": character}
            await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyDown", **key))
            await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyUp", key=character))

    async def _press(self, key: str) -> None:
        text = TYPED_BY_KEY.get(key, key if len(key) == 1 else "")
        if not text and key not in KEY_CODES:
            raise Unmet(f"no key is called {key!r}, known are single characters and {', '.join(KEY_CODES)}")
        code = {"windowsVirtualKeyCode": KEY_CODES.get(key, 0), "key": " " if key == "Space" else key, "code": key}
        down = {"type": "keyDown", "text": text, "unmodifiedText": text} if text else {"type": "rawKeyDown"}
        await self._acted(self.session.post("Input.dispatchKeyEvent", **down, **code))
        await self._acted(self.session.post("Input.dispatchKeyEvent", type="keyUp", **code))

    async def _acted(self, acknowledged: Answer) -> None:
        """Input is handled when frames are: draws this moment, page time standing still, until the page has seen it."""
        while not acknowledged.done():
            await self.clock.draw()
            await asyncio.wait({acknowledged}, timeout=0.002)
        acknowledged.result()

    async def _expect(self, step: ProbeStep) -> None:
        reason = await self._missing(step)
        for _ in range(PATIENCE_STEPS):
            if not reason:
                return
            await self.clock.run(STEP_MS)
            reason = await self._missing(step)
        if reason:
            raise Unmet(reason)

    async def _missing(self, step: ProbeStep) -> str:
        """What an expectation still lacks; empty when it holds."""
        if step.kind == "expect_change":
            return "the picture did not change" if await self.clock.picture() == self._before else ""
        found = await self._find(step)
        if step.kind == "expect_hidden":
            return f"{step.selector!r} is still visible" if found is not None and found["visible"] else ""
        if found is None:
            return f"{step.selector!r} matches nothing"
        if step.kind == "expect_visible":
            return "" if found["visible"] else f"{step.selector!r} is not visible"
        if step.kind == "expect_text":
            shown, wanted = found["text"], " ".join(step.value.split())
            return "" if wanted in shown else f"{step.selector!r} shows {shown[:80]!r}, wanted {wanted!r}"
        if found["matches"]:
            return ""
        return f"{step.name!r} of {step.selector!r} is {found['value']!r}, wanted {step.value!r}"

    async def _find(self, step: ProbeStep, *, bring: bool = False) -> Element | None:
        answer = await self.world(look(step.selector, step.kind, step.name, step.value, bring=bring))
        if answer == "bad selector":
            raise Unmet(f"{step.selector!r} is not a CSS selector")
        found: Element | None = json.loads(answer)
        return found
