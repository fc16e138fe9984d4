"""Runs the steps of probes that have a locator other than CSS, an option, or a kind that Playwright users know.

As in Playwright, an action waits until its element exists, is visible and enabled, and an expectation is checked until
it holds. Both wait at most 5 s of page time, in steps of 100 ms.
"""

from collections.abc import Awaitable, Callable

from actors.browser.chromium.checks.locator import Found, described, find
from actors.browser.chromium.input import KEY_CODES, PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.virtual_clock import STEP_MS, VirtualClock
from rollout.records import ProbeStep

PRESENCE = ("expect_visible", "expect_hidden", "expect_count", "expect_url")
"""Expectations that an absent element can meet."""


class Unmet(Exception):
    """A step failed or an expectation did not hold: what, got, wanted."""


class CheckOperator:
    """Runs single steps on one page."""

    def __init__(self, page_input: PageInput, clock: VirtualClock, world: IsolatedWorld) -> None:
        self.page_input = page_input
        self.clock = clock
        self.world = world

    async def perform(self, step: ProbeStep, before: bytes) -> None:
        """Runs a step; `before` is the PNG at the start of the probe. Raises Unmet."""
        if step.kind == "expect_change":
            await self._wait(step, lambda: self._unchanged(step, before))
        elif step.kind.startswith("expect_"):
            await self._wait(step, lambda: self._missing(step))
        else:
            await self._wait(step, lambda: self._unready(step))
            await self._act(step)
            await self.clock.run(STEP_MS)

    async def _wait(self, step: ProbeStep, reason: Callable[[], Awaitable[str]]) -> None:
        """Advances page time until there is no reason to wait. Raises Unmet with the last one."""
        end = self.clock.now + step.patience_ms
        while said := await reason():
            if self.clock.now >= end - 0.01:
                raise Unmet(said)
            await self.clock.run(STEP_MS)

    async def _unchanged(self, step: ProbeStep, before: bytes) -> str:
        same = await self.clock.picture() == before
        return "" if same == step.negated else f"the picture {'did not change' if same else 'changed'}"

    async def _unready(self, step: ProbeStep) -> str:
        """The reason that an action cannot be done yet."""
        found = await self._find(step)
        where = described(step)
        if not found["found"]:
            return f"{where} matches nothing"
        if not found["visible"]:
            return f"{where} is not visible"
        return "" if found["enabled"] or step.kind == "hover" else f"{where} is disabled"

    async def _act(self, step: ProbeStep) -> None:
        found = await self._find(step, step.kind)
        place = found["x"], found["y"]
        if step.kind == "hover":
            await self.page_input.point(*place)
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
            if (await self._find(step))["checked"] != wanted:
                raise Unmet(f"a click did not {step.kind} {described(step)}")

    async def _target(self, step: ProbeStep, start: tuple[float, float]) -> tuple[float, float]:
        """The viewport position at which a drag ends."""
        if not step.to:
            across, down = step.value.split(",")
            return start[0] + float(across), start[1] + float(down)
        found = await self._find(ProbeStep(kind="drag", selector=step.to))
        if not found["found"] or not found["visible"]:
            raise Unmet(f"{step.to!r} {'is not visible' if found['found'] else 'matches nothing'}")
        return found["x"], found["y"]

    async def _missing(self, step: ProbeStep) -> str:
        """The reason that an expectation does not hold; empty when it holds."""
        found = await self._find(step)
        where = described(step)
        if not found["found"] and step.kind not in PRESENCE:
            return f"{where} matches nothing"
        got, holds = _state(step, found)
        if holds != step.negated:
            return ""
        wanted = step.pattern or step.value
        return f"{where} {got}, wanted {'not ' * step.negated}{wanted!r}" if wanted else f"{where} {got}"

    async def _find(self, step: ProbeStep, act: str = "") -> Found:
        found = await find(self.world, step, act)
        if "bad" in found:
            raise Unmet(f"{described(step)}: {found['bad']}")
        several = not step.selector and step.nth is None and step.kind != "expect_count" and found["count"] > 1
        if several:
            raise Unmet(f"{described(step)} matches {found['count']} elements, wanted one; give `nth`")
        return found


def _state(step: ProbeStep, found: Found) -> tuple[str, bool]:
    """The observed state in words, and whether it is the expected state without regard to `negated`."""
    kind = step.kind
    if kind in ("expect_visible", "expect_hidden"):
        visible = found["found"] and found["visible"]
        return "is visible" if visible else "is not visible", visible == (kind == "expect_visible")
    if kind == "expect_count":
        return f"matches {found['count']} elements", found["count"] == int(step.value)
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
