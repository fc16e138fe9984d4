"""Tests of readings: values of two moments, chains of locators, the mouse, probes of their own page, inconclusive."""

import math
from typing import Any

import pytest

from actors.browser.chromium.checks.readings import as_text, position, reading, related
from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page, Probe, ProbeStep

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=2.0)
PAGE = """<canvas id=lamp width=60 height=40></canvas><p id=watts>60 W</p><ul><li>one <b>x</b><li>two</ul>
<div id=host></div><button id=dim>Dim</button><button id=under>Under</button>
<div style="position:absolute;left:0;top:0;width:0;height:0" id=cover></div><script>
const draw = colour => { const c = lamp.getContext('2d'); c.fillStyle = colour; c.fillRect(0, 0, 60, 40); };
draw('gold'); window.level = {watts: 60};
dim.onclick = () => { draw('brown'); watts.textContent = '40 W'; level.watts = 40; };
host.attachShadow({mode: 'open'}).innerHTML = '<label>Speed <input value=3></label>';
lamp.onmousemove = event => { if (event.buttons) watts.textContent = event.offsetX + ' W'; };
const box = under.getBoundingClientRect();
Object.assign(cover.style, {left: box.left + 'px', top: box.top + 'px', width: '99px', height: '99px'});
</script>"""
DIM = {"kind": "click", "locator": 'role=button "Dim"'}
LAMP = {"kind": "read", "locator": "css=#lamp", "name": "picture"}
WATTS = {"kind": "read", "locator": "css=#watts", "name": "text"}
SAME = {"kind": "expect_reading", "reading": "b", "relation": "equal", "to": "a"}
HOLDS: dict[str, list[dict[str, Any]]] = {
    "picture changes": [LAMP | {"reading": "a"}, DIM, LAMP | {"reading": "b"}, SAME | {"negated": True}],
    "picture stays": [LAMP | {"reading": "a"}, LAMP | {"reading": "b"}, SAME],
    "element changes": [DIM, {"kind": "expect_change", "locator": "css=#lamp"}],
    "element stays": [DIM, {"kind": "expect_change", "locator": "css=ul", "negated": True}],
    "numbers": [
        WATTS | {"reading": "a"},
        DIM,
        WATTS | {"reading": "b"},
        {"kind": "expect_reading", "reading": "b|number", "relation": "less", "to": "a|number"},
        {"kind": "expect_text", "locator": "css=#watts", "to": "b", "exact": True},
    ],
    "script": [
        {"kind": "read", "name": "script", "value": "() => window.level", "reading": "a"},
        {"kind": "expect_reading", "reading": "a|.watts", "relation": "equal", "value": "60"},
        {"kind": "read", "locator": "css=#lamp", "name": "script", "value": "one => one.width", "reading": "b"},
        {"kind": "expect_reading", "reading": "b", "relation": "close 1", "value": "60.01"},
    ],
    "anew": [
        {
            "kind": "expect_reading",
            "locator": "css=li",
            "name": "count",
            "reading": "n",
            "relation": "equal",
            "value": "2",
        }
    ],
    "chains": [
        {"kind": "expect_text", "locator": "css=ul >> css=li >> nth=-1", "value": "two", "exact": True},
        {"kind": "expect_text", "locator": "css=li >> has_text=ONE", "value": "one x"},
        {"kind": "expect_value", "locator": "label=speed", "value": "3"},
        {"kind": "expect_count", "locator": "css=b >> parent=", "value": "1"},
    ],
    "mouse": [
        {"kind": "read", "locator": "css=#lamp", "name": "box", "reading": "a"},
        {"kind": "mouse", "name": "move", "value": "a.x + 5, a.y + 5"},
        {"kind": "mouse", "name": "down"},
        {"kind": "mouse", "name": "move", "value": "a.x + 0.5 * a.width, a.y + 5"},
        {"kind": "mouse", "name": "up"},
        {"kind": "expect_text", "locator": "css=#watts", "value": "30 W"},
    ],
}
VERDICTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "several elements": ("fail", [{"kind": "expect_visible", "locator": "css=li"}]),
    "absent button": ("inconclusive", [{"kind": "click", "locator": "css=#none"}]),
    "covered button": ("inconclusive", [{"kind": "click", "locator": "css=#under"}]),
    "missing reading": ("fail", [SAME]),
    "throwing script": ("inconclusive", [{"kind": "read", "name": "script", "value": "() => x.y", "reading": "a"}]),
}


def probe(name: str, steps: list[dict[str, Any]], fresh: bool = True) -> Probe:
    return Probe(name=name, steps=tuple(ProbeStep(**step) for step in steps), fresh=fresh)


async def test_steps_hold_on_pages_of_their_own(renderer: ChromiumRenderer) -> None:
    render = await renderer.render(Page(html=PAGE), tuple(probe(name, steps) for name, steps in HOLDS.items()))
    assert [(result.name, result.detail) for result in render.probes] == [(name, "") for name in HOLDS]


async def test_impossible_action_is_inconclusive_and_unmet_expectation_fails(renderer: ChromiumRenderer) -> None:
    probes = tuple(probe(name, steps, fresh=False) for name, (_, steps) in VERDICTS.items())
    render = await renderer.render(Page(html=PAGE), probes)
    assert {one.name: one.verdict for one in render.probes} == {name: want for name, (want, _) in VERDICTS.items()}


async def test_failure_without_a_script_of_the_page_is_inconclusive(renderer: ChromiumRenderer) -> None:
    page = Page(html='<p>text</p><script src="https://cdn.example/library.js"></script>')
    absent = probe("absent", [{"kind": "expect_visible", "locator": "css=#none"}])
    there = probe("there", [{"kind": "expect_visible", "locator": "css=p"}])
    render = await renderer.render(page, (absent, there))
    assert [one.verdict for one in render.probes] == ["inconclusive", "pass"]


async def test_values_compare_as_in_javascript() -> None:
    values = {"a": " 12.50 px", "list": ["x", {"y": 1}], "box": {"x": 2.0, "width": 10.0}}
    assert [reading(values, name) for name in ("a|number", "a|trim", "list|.1|.y")] == [12.5, "12.50 px", 1]
    assert math.isnan(reading(values, "a|.x|number"))
    assert position(values, "box.x + 0.5 * box.width + -1, 3") == (6.0, 3.0)
    assert (as_text(3.0), as_text(None), as_text("x")) == ("3", "null", "x")
    assert related(1, "equal", 1.0)
    assert not related("1", "equal", 1)
    assert not related(None, "greater", 1)
    assert related(["x"], "contains", "x")
    assert related("40 W", "matches", None, "/^\\d+ w$/i")
