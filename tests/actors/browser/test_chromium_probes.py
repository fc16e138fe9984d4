"""Tests of probes: every kind of step, passing and failing, with real input on a real page."""

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page, Probe, ProbeResult, ProbeStep, Render, StepKind

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=1.5)
SHOP = """<style>#bar{width:10px;height:60px;background:teal;transition:width .3s linear}
#over{width:200px;height:60px;background:#eee} #over:hover{background:#010203}</style>
<h1>Shop</h1><input id=wish><button id=add>Add</button><ul id=list></ul><p id=keys></p><div id=bar></div>
<div id=over>Over</div><p id=note hidden>Added</p><label><input type=checkbox id=gift>Gift</label>
<div style="height:2000px"></div><button id=far>Far</button><a id=out href="https://example.org/">Out</a>
<button id=loop>Loop</button><script>
add.onclick = event => {
  if (!event.isTrusted) return;
  const item = document.createElement('li');
  item.textContent = wish.value; list.append(item); bar.style.width = '500px'; note.hidden = false;
};
wish.addEventListener('keydown', event => { keys.textContent += event.key + ' '; });
document.addEventListener('keydown', event => { if (event.key === 'Escape') note.hidden = true; });
far.onclick = () => setTimeout(() => { far.textContent = 'Near'; }, 300);
loop.onclick = () => { while (true) {} };
</script>"""


def step(kind: StepKind, selector: str = "", value: str = "", name: str = "") -> ProbeStep:
    return ProbeStep(kind=kind, selector=selector, value=value, name=name)


async def operate(renderer: ChromiumRenderer, *probes: tuple[ProbeStep, ...]) -> Render:
    named = tuple(Probe(name=f"probe {number}", steps=steps) for number, steps in enumerate(probes))
    return await renderer.render(Page(html=SHOP), named)


def details(render: Render) -> list[str]:
    return [result.detail for result in render.probes]


async def test_every_kind_of_step_passes_on_a_working_page(renderer: ChromiumRenderer) -> None:
    render = await operate(
        renderer,
        (
            step("expect_hidden", "#note"),
            step("type", "#wish", "milk & tür"),
            step("expect_text", "#keys", "m i l k"),
            step("expect_attribute", "#wish", "milk & tür", "value"),
            step("click", "#add"),
            step("expect_text", "#list li", "milk & tür"),
            step("expect_visible", "#note"),
            step("expect_style", "#bar", "500px", "width"),
            step("expect_change"),
        ),
        (step("press", value="Escape"), step("expect_hidden", "#note")),
        (step("hover", "#over"), step("expect_style", "#over", "#010203", "background-color"), step("expect_change")),
        (step("click", "#gift"), step("expect_attribute", "#gift", "true", "checked")),
        (step("click", "#far"), step("wait", value="300"), step("expect_text", "#far", "Near")),
        (step("expect_attribute", "#out", "https://example.org/", "href"),),
    )
    assert [(result.held, result.detail) for result in render.probes] == [(True, "")] * 6
    times = [shot.at_ms for shot in render.shots]
    assert times == sorted(times)


async def test_every_kind_of_step_fails_with_the_found_and_the_wanted_value(renderer: ChromiumRenderer) -> None:
    render = await operate(
        renderer,
        (step("click", "#nobody"),),
        (step("click", "#note"),),
        (step("click", "h1"), step("expect_change")),
        (step("expect_text", "h1", "Market"),),
        (step("expect_visible", "#note"),),
        (step("expect_hidden", "h1"),),
        (step("expect_attribute", "#out", "https://example.com/", "href"),),
        (step("expect_style", "#over", "red", "background-color"),),
        (step("press", value="Hyper"),),
        (step("expect_text", "h1 >", "Shop"),),
        (step("wait", value="100"), step("expect_change")),
    )
    assert not [result for result in render.probes if result.held]
    said = details(render)
    assert said[0] == "step 1, click: '#nobody' matches nothing"
    assert said[1] == "step 1, click: '#note' is not visible"
    assert said[2] == "step 2, expect_change: the picture did not change"
    assert said[3] == "step 1, expect_text: 'h1' shows 'Shop', wanted 'Market'"
    assert said[5] == "step 1, expect_hidden: 'h1' is still visible"
    assert said[7] == "step 1, expect_style: 'background-color' of '#over' is 'rgb(238, 238, 238)', wanted 'red'"
    assert said[9].endswith("'h1 >' is not a CSS selector")


async def test_probe_that_breaks_the_page_fails_probes_but_not_the_page(renderer: ChromiumRenderer) -> None:
    fine = (step("expect_text", "h1", "Shop"),)
    render = await operate(renderer, fine, (step("click", "#out"), step("expect_text", "h1", "Shop")), fine)
    assert (render.outcome, [result.held for result in render.probes]) == ("ok", [True, True, True])
    assert "nav_away" in render.flags
    assert render.blocked == ("Document https://example.org/",)
    render = await operate(renderer, fine, (step("click", "#loop"),), fine)
    assert (render.outcome, [result.held for result in render.probes]) == ("ok", [True, False, False])
    assert "of CPU" in render.probes[1].detail


async def test_probes_are_reproducible_to_the_pixel(renderer: ChromiumRenderer) -> None:
    steps = (step("click", "#add"), step("wait", value="130"), step("expect_change"))
    first = await operate(renderer, steps)
    again = await operate(renderer, steps)
    assert first.probes == again.probes == (ProbeResult(name="probe 0", held=True),)
    assert [shot.sha256 for shot in first.shots] == [shot.sha256 for shot in again.shots]
