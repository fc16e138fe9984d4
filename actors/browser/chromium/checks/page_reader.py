"""Reads values of a page for the steps `read` and `expect_reading` of a probe."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

from actors.browser.chromium.cdp import CommandRefused
from actors.browser.chromium.checks.locator import Unmet, described, finder, locate
from actors.browser.chromium.checks.readings import as_text, reading, related
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.virtual_clock import VirtualClock
from rollout.records import ProbeStep

LARGEST_RESULT = 4 << 20
"""Characters of a script's result as JSON."""


class PageReader:
    """Reads and keeps the values of one page."""

    def __init__(self, clock: VirtualClock, world: IsolatedWorld) -> None:
        self.clock = clock
        self.world = world
        self.values: dict[str, Any] = {}
        """Values that `read` keeps, by name."""

    async def read(self, step: ProbeStep) -> Any:
        """The value of a step of kind `read`, or of an expectation with `name`."""
        if step.name == "script":
            return await self._computed(step)
        if described(step) == "the page" and step.name == "picture":
            return hashlib.sha256(await self.clock.picture()).hexdigest()
        found = await locate(self.world, step, "reach" if step.name == "picture" else "")
        if step.name in ("count", "visible"):
            return found["count"] if step.name == "count" else found["found"] and found["visible"]
        if not found["found"]:
            raise Unmet(f"{described(step)} matches nothing")
        if step.name == "picture":
            return _cut(await self.clock.picture(), found["box"])
        if step.name in ("box", "checked", "enabled"):
            return {"box": found["box"], "checked": found["checked"], "enabled": found["enabled"]}[step.name]
        return found["shown"] if step.name == "value" else found["read"]

    async def _computed(self, step: ProbeStep) -> Any:
        """The result of the function `value` in the page's own world, which can reach nothing outside of the page."""
        element = "" if described(step) == "the page" else finder(step)
        try:
            result = await self.world.call_on(step.value, element)
        except CommandRefused as error:
            raise Unmet(f"the script failed: {str(error)[:200]}") from error
        if len(json.dumps(result)) > LARGEST_RESULT:
            raise Unmet(f"the script's result has more than {LARGEST_RESULT} characters")
        return result

    async def unrelated(self, step: ProbeStep) -> str:
        """The reason that a relation does not hold; empty when it holds."""
        name = step.reading.partition("|")[0]
        if step.name:
            try:
                self.values[name] = await self.read(step)
            except Unmet as reason:
                return str(reason)
        value = self.kept(step.reading)
        try:
            given = "null" if step.name == "script" else step.value or "null"
            wanted = self.kept(step.to) if step.to else json.loads(given)
            if related(value, step.relation, wanted, step.pattern) != step.negated:
                return ""
        except ValueError as error:
            raise Unmet(f"{step.pattern or step.value!r} cannot be compared: {error}") from error
        shown = "" if step.relation == "truthy" else f" {(step.pattern or as_text(wanted))[:80]}"
        return f"{as_text(value)[:80]}, wanted {'not ' * step.negated}{step.relation}{shown}"

    def kept(self, formula: str) -> Any:
        """A kept value after the formula's conversions. Raises Unmet for one that was never read."""
        try:
            return reading(self.values, formula)
        except KeyError as error:
            raise Unmet(f"nothing was read as {error}") from error


def _cut(png: bytes, box: Mapping[str, float]) -> str:
    """Content hash of an element's part of the viewport's picture."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        left, right = (min(max(0, round(x)), picture.width) for x in (box["x"], box["x"] + box["width"]))
        top, bottom = (min(max(0, round(y)), picture.height) for y in (box["y"], box["y"] + box["height"]))
        part = picture.convert("RGB").crop((left, top, right, bottom))
    return hashlib.sha256(repr(part.size).encode() + part.tobytes()).hexdigest()
