"""Explores a page without probes: operates its controls and records the effects.

Controls are those of the page as loaded, in document order, each kind and name once, operated one after another as a
visitor would. Controls then gone or covered are reported, not forced. Before the first of two pictures, the mouse is
placed on the control and the previous one loses focus, so neither counts as a change.
"""

import json
from collections.abc import AsyncIterator
from typing import TypedDict

from actors.browser.chromium.input import PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.page_monitor import PageMonitor
from actors.browser.chromium.scripts import TOOLS
from actors.browser.chromium.virtual_clock import VirtualClock
from rollout.records import ControlTrial

SETTLE_MS = 300.0
"""Page time before each picture in milliseconds, for transitions to finish."""
FIND = (
    "(most => {"
    + TOOLS
    + """
const matches = bind(Element, 'matches'), innerOf = get(HTMLElement, 'innerText');
const named = 'button, a[href], input, select, textarea, summary, [onclick], [role=button], [role=tab],' +
  '[role=switch], [role=checkbox], [role=menuitem], [role=option]';
const hand = element => element && getComputedStyle(element).cursor === 'pointer';
const typed = {text: 'Ada', search: 'Ada', email: 'ada@example.org', password: 'secret', tel: '5550100',
  url: 'https://example.org/', number: '7'};
const keys = {range: 'ArrowRight', date: 'ArrowUp', time: 'ArrowUp', month: 'ArrowUp', week: 'ArrowUp',
  'datetime-local': 'ArrowUp'};
const found = [], names = new Set(), elements = globalThis.relookControls = [];
for (const [element, parent] of flat(rootOf(document))) {
  if (found.length >= most) break;
  if (!(element instanceof HTMLElement) || matches(element, ':disabled') || !seen(element)) continue;
  if (!matches(element, named) && !(hand(element) && !hand(parent))) continue;
  if (elements.some(other => Node.prototype.contains.call(other, element))) continue;
  const box = rectOf(element), tag = tagOf(element).toLowerCase();
  const type = tag === 'input' ? get(HTMLInputElement, 'type')(element) : tag === 'textarea' ? 'text' : '';
  if (box.width < 1 || box.height < 1 || ['hidden', 'file', 'color'].includes(type)) continue;
  const words = [tag === 'select' ? '' : innerOf(element), attribute(element, 'aria-label'),
    attribute(element, 'placeholder'), attribute(element, 'value'), attribute(element, 'name'), element.id];
  const said = words.map(word => typeof word === 'string' ? word.replace(/\\s+/g, ' ').trim() : '').find(Boolean);
  const name = `${type || tag} ${JSON.stringify((said || '').slice(0, 40).toWellFormed())}`;
  if (names.has(name)) continue;
  names.add(name);
  elements.push(element);
  found.push({name, text: typed[type] || '', key: tag === 'select' ? 'ArrowDown' : keys[type] || ''});
}
return JSON.stringify(found);
})"""
)
"""The first `most` controls, stored in the world by number."""
REACH = (
    "((number, focus) => {"
    + TOOLS
    + """
const element = globalThis.relookControls[number];
if (!get(Node, 'isConnected')(element) || !seen(element)) return JSON.stringify({problem: 'is no longer visible'});
Element.prototype.scrollIntoView.call(element, {block: 'nearest', inline: 'nearest', behavior: 'instant'});
let active = get(Document, 'activeElement')(document);
for (let next = active; next; next = shadowOf(next) && get(ShadowRoot, 'activeElement')(shadowOf(next))) active = next;
if (focus) HTMLElement.prototype.focus.call(element);
else if (active instanceof HTMLElement && active !== element) HTMLElement.prototype.blur.call(active);
const box = rectOf(element), x = box.left + box.width / 2, y = box.top + box.height / 2;
let top = null;
for (let next = Document.prototype.elementFromPoint.call(document, x, y); next && next !== top;) {
  const shadow = shadowOf(top = next);
  next = shadow && ShadowRoot.prototype.elementFromPoint.call(shadow, x, y);
}
const holds = (outer, inner) => { while (inner && inner !== outer) inner = aboveOf(inner); return Boolean(inner); };
const covered = !top || !(holds(element, top) || holds(top, element));
return JSON.stringify({x, y, problem: covered ? 'is covered by something else' : ''});
})"""
)
"""A control's position, scrolled into view and focused on request, or why it cannot be reached."""


class Control(TypedDict):
    """A control: with a `key` it is pressed, else it is clicked; then `text` is typed."""

    name: str
    text: str
    key: str


class Explorer:
    """Operates a page's controls; `at` is the name of the current one."""

    def __init__(self, page_input: PageInput, clock: VirtualClock, world: IsolatedWorld, monitor: PageMonitor) -> None:
        self.page_input = page_input
        self.clock = clock
        self.world = world
        self.monitor = monitor
        self.at = ""

    async def explore(self, most: int) -> AsyncIterator[tuple[ControlTrial, bytes]]:
        """Operates the first `most` controls; yields each effect and the picture after it."""
        controls: list[Control] = json.loads(await self.world(f"{FIND}({most})"))
        for number, control in enumerate(controls):
            self.at = control["name"]
            seen = await self._try(number, control)
            self.at = ""
            yield seen

    async def _try(self, number: int, control: Control) -> tuple[ControlTrial, bytes]:
        place = json.loads(await self.world(f"{REACH}({number}, {json.dumps(bool(control['key']))})"))
        if place["problem"]:
            return ControlTrial(control=control["name"], detail=place["problem"]), await self.clock.picture()
        await self.page_input.point(place["x"], place["y"])
        before = await self._settled()
        thrown = len(self.monitor.exceptions)
        blocked = len(self.monitor.blocked)
        if control["key"]:
            await self.page_input.press(control["key"])
        else:
            await self.page_input.click(place["x"], place["y"])
        if control["text"]:
            await self.page_input.type(control["text"])
        after = await self._settled()
        asked = self.monitor.blocked[blocked:]
        seen = ControlTrial(
            control=control["name"],
            changed=after != before,
            thrown=tuple(self.monitor.exceptions[thrown:]),
            detail=f"asks for {asked[0]}" if asked else "",
        )
        return seen, after

    async def _settled(self) -> bytes:
        return await self.clock.picture_at(self.clock.now + SETTLE_MS)
