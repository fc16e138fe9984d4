"""Runs probes on a page: real input, then checks of the expected results.

Probes run in order on one page, each from the state the previous one left. One step of page time follows each action.
Expectations are checked at once and after each of five steps (500 ms of page time), until one check succeeds. Steps
with other locators, kinds or options than those of `ProbeStep.is_plain` run in `checks/`.
"""

import json
from typing import TypedDict

from actors.browser.chromium.checks.check_operator import CheckOperator
from actors.browser.chromium.checks.locator import Unmet
from actors.browser.chromium.input import KEY_CODES, PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.scripts import look
from actors.browser.chromium.virtual_clock import STEP_MS, VirtualClock
from rollout.records import Probe, ProbeResult, ProbeStep

PATIENCE_STEPS = 5
LONGEST_WAIT_MS = 10_000.0


class Element(TypedDict):
    """The script's report on the first element a selector matches."""

    x: float
    y: float
    text: str
    visible: bool
    value: str | None
    matches: bool


class Operator:
    """Runs one page's probes."""

    def __init__(self, page_input: PageInput, clock: VirtualClock, world: IsolatedWorld) -> None:
        self.page_input = page_input
        self.clock = clock
        self.world = world
        self._before = b""
        self._checks = CheckOperator(page_input, clock, world)

    async def perform(self, probe: Probe) -> ProbeResult:
        """Runs the steps until one fails; nothing can be said about the page when an action fails."""
        await self._checks.begin(probe)
        if any(step.kind == "expect_change" for step in probe.steps):
            self._before = await self.clock.picture()
        for number, step in enumerate(probe.steps, start=1):
            try:
                await self._step(step)
            except Unmet as reason:
                acts = not step.kind.startswith("expect_")
                detail = f"step {number}, {step.kind}: {reason}"
                return ProbeResult(name=probe.name, held=False, detail=detail, inconclusive=acts)
        return ProbeResult(name=probe.name, held=True)

    async def _step(self, step: ProbeStep) -> None:
        if not step.is_plain:
            await self._checks.perform(step, self._before)
        elif step.kind == "wait":
            await self.clock.run(min(float(step.value), LONGEST_WAIT_MS))
        elif step.kind == "press":
            if len(step.value) != 1 and step.value not in KEY_CODES:
                known = f"known are single characters and {', '.join(KEY_CODES)}"
                raise Unmet(f"no key is called {step.value!r}, {known}")
            await self.page_input.press(step.value)
            await self.clock.run(STEP_MS)
        elif step.kind in ("click", "type", "hover"):
            await self._point(step)
            await self.clock.run(STEP_MS)
        else:
            await self._expect(step)

    async def _point(self, step: ProbeStep) -> None:
        """Moves the mouse to an element; clicks it unless hovering; types after its content."""
        found = await self._find(step, bring=True)
        if found is None or not found["visible"]:
            raise Unmet(f"{step.selector!r} {'matches nothing' if found is None else 'is not visible'}")
        await (self.page_input.point if step.kind == "hover" else self.page_input.click)(found["x"], found["y"])
        if step.kind == "type":
            await self.page_input.type(step.value)

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
        """The reason that an expectation does not hold; empty when it holds."""
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
            shown = found["text"]
            wanted = " ".join(step.value.split())
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
