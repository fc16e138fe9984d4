"""Runs the steps of probes that have a locator other than CSS, an option, or a kind that Playwright users know.

As in Playwright, an action waits until its element exists, is visible and enabled, and an expectation is checked until
it holds. Both wait at most 5 s of page time, in steps of 100 ms.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from actors.browser.chromium.checks.locator import Found, Unmet, described, locate
from actors.browser.chromium.checks.page_reader import PageReader
from actors.browser.chromium.checks.readings import as_text, position
from actors.browser.chromium.input import KEY_CODES, PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.virtual_clock import STEP_MS, VirtualClock
from rollout.records import Probe, ProbeStep

PRESENCE = ("expect_visible", "expect_hidden", "expect_count", "expect_url")
"""Expectations that an absent element can meet."""


CLICKS = ("click", "double_click", "check", "uncheck", "hover")
"""Actions of the mouse, which must reach the element."""
ATTACHED = ("focus", "blur", "dispatch")
"""Actions on an element that need not be visible."""


class CheckOperator:
    """Runs single steps on one page."""

    def __init__(self, page_input: PageInput, clock: VirtualClock, world: IsolatedWorld) -> None:
        self.page_input = page_input
        self.clock = clock
        self.world = world
        self.readings = PageReader(clock, world)
        self._mouse = 0.0, 0.0
        self._before: dict[str, str] = {}
        """Content hash of the first picture of each element that is expected to change."""

    async def begin(self, probe: Probe) -> None:
        """Forgets the readings of the last probe, and takes pictures of the elements that are expected to change."""
        self.readings.values.clear()
        self._before.clear()
        for step in probe.steps:
            if step.kind == "expect_change" and step.locator:
                with contextlib.suppress(Unmet):  # an element that is still absent has no picture
                    self._before[step.locator] = await self.readings.read(replace(step, name="picture"))

    async def perform(self, step: ProbeStep, before: bytes) -> None:
        """Runs a step; `before` is the PNG at the start of the probe. Raises Unmet."""
        if step.to and step.kind not in ("drag", "expect_reading"):
            step = replace(step, value=as_text(self.readings.kept(step.to)), to="")
        if step.kind == "expect_change":
            await self._wait(step, lambda: self._unchanged(step, before))
        elif step.kind == "expect_reading":
            await self._wait(step, lambda: self.readings.unrelated(step))
        elif step.kind.startswith("expect_"):
            await self._wait(step, lambda: self._missing(step))
        elif step.kind == "mouse":
            await self._move(step)
            await self.clock.run(STEP_MS)
        elif step.kind == "read":
            await self._wait(step, lambda: self._unready(step))
            self.readings.values[step.reading] = await self.readings.read(step)
        else:
            await self._wait(step, lambda: self._unready(step))
            await self._act(step)
            await self.clock.run(STEP_MS)

    async def _wait(self, step: ProbeStep, reason: Callable[[], Awaitable[str]]) -> None:
        """Advances page time until there is no reason to wait. Raises Unmet with the last one."""
        once = step.kind == "expect_reading" and not step.name
        end = self.clock.now + (0.0 if once else step.patience_ms)
        while said := await reason():
            if self.clock.now >= end - 0.01:
                raise Unmet(said)
            await self.clock.run(STEP_MS)

    async def _unchanged(self, step: ProbeStep, before: bytes) -> str:
        if step.locator:
            same = await self.readings.read(replace(step, name="picture")) == self._before.get(step.locator)
        else:
            same = await self.clock.picture() == before
        return "" if same == step.negated else f"the picture {'did not change' if same else 'changed'}"

    async def _unready(self, step: ProbeStep) -> str:
        """The reason that an action cannot be done yet."""
        if step.kind == "read" and (described(step) == "the page" or step.name in ("count", "visible")):
            return ""
        found = await locate(self.world, step, "reach" if step.kind in CLICKS else "")
        where = described(step)
        if not found["found"]:
            return f"{where} matches nothing"
        if step.kind in ATTACHED or (step.kind == "read" and step.name != "picture"):
            return ""
        if not found["visible"]:
            return f"{where} is not visible"
        if step.kind in CLICKS and step.locator and not found["hit"]:
            return f"{where} is covered by another element"
        if step.kind in ("hover", "read") or found["enabled"]:
            return f"{where} is read-only" if step.kind == "fill" and not found["editable"] else ""
        return f"{where} is disabled"

    async def _act(self, step: ProbeStep) -> None:
        found = await locate(self.world, step, step.kind)
        place = self._place(step, found)
        if step.kind == "hover":
            await self.page_input.point(*place)
        elif step.kind == "double_click":
            await self.page_input.double_click(*place)
        elif step.kind in ATTACHED:
            pass  # done by the script that found the element
        elif step.kind in ("click", "type", "press"):
            await self.page_input.click(*place)
            await self._type(step)
        elif step.kind in ("check", "uncheck"):
            await self._set_checked(step, found)
        elif step.kind == "drag":
            await self.page_input.drag(place, await self._target(step, place))
        elif found["done"] == "selected":
            await self.page_input.insert(step.value)
        elif not found["done"]:
            raise Unmet(f"{described(step)} has no option {step.value!r}")

    def _place(self, step: ProbeStep, found: Found) -> tuple[float, float]:
        """The element's centre, or the position in it that a click gives."""
        if not step.value or step.kind not in ("click", "double_click"):
            return found["x"], found["y"]
        try:
            across, down = position(self.readings.values, step.value)
        except (KeyError, TypeError, ValueError) as error:
            raise Unmet(f"{step.value!r} is not a position in an element: {error}") from error
        return found["box"]["x"] + across, found["box"]["y"] + down

    async def _move(self, step: ProbeStep) -> None:
        """Moves the mouse, or presses or releases its button at the last position."""
        if step.name not in ("move", "down", "up", "wheel"):
            raise Unmet(f"{step.name!r} is not a motion, wanted move, down, up or wheel")
        try:
            place = position(self.readings.values, step.value) if step.value else self._mouse
        except (KeyError, TypeError, ValueError) as error:
            raise Unmet(f"{step.value!r} uses a value that was not read: {error}") from error
        if step.name == "wheel":
            await self.page_input.wheel(*self._mouse, *place)
            return
        self._mouse = place
        await self.page_input.mouse(step.name, *place)

    async def _type(self, step: ProbeStep) -> None:
        if step.kind == "type":
            await self.page_input.type(step.value)
        elif step.kind == "press":
            if len(step.value) != 1 and step.value not in KEY_CODES:
                raise Unmet(f"no key is called {step.value!r}")
            await self.page_input.press(step.value)

    async def _set_checked(self, step: ProbeStep, found: Found) -> None:
        wanted = step.kind == "check"
        if found["checked"] is None:
            raise Unmet(f"{described(step)} is not a checkbox or radio button")
        if found["checked"] != wanted:
            await self.page_input.click(found["x"], found["y"])
            await self.clock.run(STEP_MS)
            if (await locate(self.world, step))["checked"] != wanted:
                raise Unmet(f"a click did not {step.kind} {described(step)}")

    async def _target(self, step: ProbeStep, start: tuple[float, float]) -> tuple[float, float]:
        """The viewport position at which a drag ends."""
        if not step.to:
            across, down = step.value.split(",")
            return start[0] + float(across), start[1] + float(down)
        found = await locate(self.world, ProbeStep(kind="drag", selector=step.to))
        if not found["found"] or not found["visible"]:
            raise Unmet(f"{step.to!r} {'is not visible' if found['found'] else 'matches nothing'}")
        return found["x"], found["y"]

    async def _missing(self, step: ProbeStep) -> str:
        """The reason that an expectation does not hold; empty when it holds."""
        found = await locate(self.world, step)
        where = described(step)
        if not found["found"] and step.kind not in PRESENCE:
            return f"{where} matches nothing"
        got, holds = _state(step, found)
        if holds != step.negated:
            return ""
        wanted = step.pattern or step.value
        return f"{where} {got}, wanted {'not ' * step.negated}{wanted!r}" if wanted else f"{where} {got}"


def _state(step: ProbeStep, found: Found) -> tuple[str, bool]:
    """The observed state in words, and whether it is the expected state without regard to `negated`."""
    kind = step.kind
    if kind in ("expect_visible", "expect_hidden"):
        visible = found["found"] and found["visible"]
        return "is visible" if visible else "is not visible", visible == (kind == "expect_visible")
    if kind == "expect_count":
        return f"matches {found['count']} elements", found["count"] == int(step.value)
    if kind == "expect_empty":
        return "is empty" if found["empty"] else "is not empty", found["empty"]
    if kind == "expect_checked":
        return f"is {'' if found['checked'] else 'not '}checked", found["checked"] is True
    if kind in ("expect_enabled", "expect_disabled"):
        return "is enabled" if found["enabled"] else "is disabled", found["enabled"] == (kind == "expect_enabled")
    return f"has {(found['shown'] or '')[:80]!r}", _matches(step, found)


def _matches(step: ProbeStep, found: Found) -> bool:
    """Whether the text, value, attribute, style or fragment is the expected one."""
    shown = found["shown"]
    if found["matches"] is not None:
        return found["matches"]
    if step.kind == "expect_text":
        wanted = " ".join(step.value.split())
        return shown == wanted if step.exact else wanted in (shown or "")
    return shown == step.value
