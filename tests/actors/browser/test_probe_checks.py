"""Tests of locators and of the steps that Playwright users know, with real input on a real page."""

from typing import Any

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page, Probe, ProbeStep

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=1.5)
PAGE = """<h1>Order form</h1><button id=a>Add  item</button><button aria-label="Close dialog">x</button>
<button disabled>Pay now</button><label>Full name <input id=full></label><input placeholder="Search here">
<input type=range id=size min=0 max=10 value=5><output id=out>5</output><select id=kind aria-label=Kind>
<option value=s>Small</option><option value=l>Large</option></select><label><input type=checkbox>Gift wrap</label>
<p data-testid=late></p><ul id=list></ul><p>Same</p><p>Same</p><a href="#two">Go</a>
<div id=box style="position:absolute;left:600px;top:300px;width:50px;height:50px;background:red"></div><script>
const at = id => document.getElementById(id), heard = [];
at('a').onclick = () => at('list').append(document.createElement('li'));
at('size').addEventListener('input', () => { at('out').textContent = at('size').value; });
at('kind').addEventListener('change', () => { at('list').dataset.kind = at('kind').value; });
setTimeout(() => { document.querySelector('[data-testid]').textContent = 'Total: 12 EUR'; }, 4000);
at('box').onmousedown = () => { document.onmousemove = event => { at('box').style.left = event.pageX + 'px'; }; };
document.onmouseup = () => { document.onmousemove = null; };
</script>"""

HOLDS: dict[str, list[dict[str, Any]]] = {
    "role and name": [
        {"kind": "click", "role": "button", "accessible_name": "add item"},
        {"kind": "expect_count", "selector": "#list li", "value": "1"},
        {"kind": "expect_visible", "role": "button", "accessible_name": "/^close/i"},
    ],
    "text": [{"kind": "expect_visible", "text": "ORDER  form"}, {"kind": "expect_count", "text": "Same", "value": "2"}],
    "label and fill": [
        {"kind": "fill", "label": "full name", "value": "Ada"},
        {"kind": "fill", "label": "full name", "value": "Eve"},
        {"kind": "expect_value", "label": "Full name", "value": "Eve"},
        {"kind": "fill", "label": "full name"},
        {"kind": "expect_value", "selector": "#full"},
    ],
    "placeholder": [{"kind": "fill", "placeholder": "search", "value": "x"}],
    "range": [
        {"kind": "fill", "selector": "#size", "value": "8"},
        {"kind": "expect_text", "selector": "#out", "value": "8", "exact": True},
    ],
    "select": [
        {"kind": "select", "label": "Kind", "value": "Large"},
        {"kind": "expect_attribute", "selector": "#list", "name": "data-kind", "pattern": "/^L$/i"},
    ],
    "check": [
        {"kind": "check", "role": "checkbox"},
        {"kind": "expect_checked", "label": "Gift"},
        {"kind": "uncheck", "label": "Gift"},
        {"kind": "expect_checked", "label": "Gift", "negated": True},
    ],
    "enabled": [
        {"kind": "expect_disabled", "role": "button", "accessible_name": "Pay"},
        {"kind": "expect_enabled", "selector": "#a"},
    ],
    "url": [{"kind": "click", "role": "link"}, {"kind": "expect_url", "value": "#two"}],
    "drag": [
        {"kind": "drag", "selector": "#box", "value": "100,0"},
        {"kind": "expect_style", "selector": "#box", "name": "left", "value": "725px", "nth": 0},
    ],
    "late": [{"kind": "expect_text", "test_id": "late", "pattern": "/\\d+ EUR$/"}],
    "unchanged": [{"kind": "expect_change", "negated": True}],
    "nth": [{"kind": "expect_visible", "text": "Same", "nth": -1}],
}
FAILS: dict[str, tuple[dict[str, Any], str]] = {
    "ambiguous": ({"kind": "click", "text": "Same"}, "step 1, click: text 'Same' matches 2 elements, wanted one"),
    "disabled": ({"kind": "click", "text": "Pay now"}, "step 1, click: text 'Pay now' is disabled"),
    "absent": ({"kind": "click", "test_id": "none"}, "test_id 'none' matches nothing"),
    "negated": ({"kind": "expect_text", "selector": "h1", "value": "Order", "negated": True}, "wanted not 'Order'"),
    "absent and negated": ({"kind": "expect_text", "text": "nil", "value": "x", "negated": True}, "matches nothing"),
    "exact": ({"kind": "expect_text", "selector": "h1", "value": "Order", "exact": True}, "has 'Order form'"),
    "option": ({"kind": "select", "selector": "#kind", "value": "Huge"}, "has no option 'Huge'"),
    "range": ({"kind": "fill", "selector": "#size", "value": "99"}, "the field does not take 99"),
    "heading": ({"kind": "fill", "selector": "h1", "value": "9"}, "the element cannot be filled"),
    "regular expression": ({"kind": "expect_visible", "text": "/(/"}, "Invalid regular expression"),
}


async def test_steps_hold_on_a_working_page(renderer: ChromiumRenderer) -> None:
    probes = [Probe(name=name, steps=tuple(ProbeStep(**step) for step in steps)) for name, steps in HOLDS.items()]
    for probe in probes:
        render = await renderer.render(Page(html=PAGE), (probe,))
        assert [(result.name, result.detail) for result in render.probes] == [(probe.name, "")]


async def test_failed_steps_name_the_found_and_the_wanted_state(renderer: ChromiumRenderer) -> None:
    for name, (step, said) in FAILS.items():
        render = await renderer.render(Page(html=PAGE), (Probe(name=name, steps=(ProbeStep(**step),)),))
        assert not render.probes[0].held
        assert said in render.probes[0].detail
