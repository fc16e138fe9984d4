"""Tests of several viewports: a page is loaded on each viewport and judged against the reference's render there."""

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from reward.multimodal import rubric
from rollout.records import Page, Probe, ProbeStep, Render, Task, Viewport

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings()
WIDE, PHONE = Viewport.of("800x600"), Viewport.of("mobile")
NARROW = "@media (max-width: 500px) { body { background: #fed } h1 { font-size: 20px } #card { display: none } }"
PAGE = """<style>body{background:#def} h1{background:gold} #card{width:500px;height:200px;background:teal} RULES</style>
<h1>Lamps</h1><div id=card></div><p id=size></p><script>size.textContent = innerWidth + ' wide'</script>"""
WANTED, STIFF = PAGE.replace("RULES", NARROW), PAGE.replace("RULES", "")
TASK = Task(id="lamps", brief="Lamps.", reference_html=WANTED, viewports=(WIDE, PHONE))


async def show(renderer: ChromiumRenderer, html: str) -> Render:
    return await renderer.render(Page(html=html), (), TASK.viewports)


async def test_page_is_loaded_once_per_viewport(renderer: ChromiumRenderer) -> None:
    probe = Probe(name="wide", steps=(ProbeStep(kind="expect_text", selector="#size", value="800 wide"),))
    render = await renderer.render(Page(html=WANTED), (probe,), TASK.viewports)
    assert (render.outcome, render.viewport, [result.held for result in render.probes]) == ("ok", (800, 600), [True])
    assert [(shot.label, shot.width, shot.height) for shot in render.shots] == [
        ("", 800, 600),
        ("", 800, 600),
        ("", 800, 600),
        ("390x844", 390, 844),
    ]
    (view,) = render.views
    assert (view.viewport, view.background, view.document) == (PHONE, (0xFF, 0xEE, 0xDD), (390, 844))
    assert [(block.text, block.font_px) for block in view.blocks] == [("Lamps", 20), ("390 wide", 16)]
    assert [box.tag for box in render.boxes] == ["h1", "div"]
    assert [box.tag for box in view.boxes] == ["h1"]


async def test_embedded_critic_averages_the_viewports(renderer: ChromiumRenderer) -> None:
    critic, page = VisualCriticActor(), Page(html=STIFF)
    wanted, stiff = await show(renderer, WANTED), await show(renderer, STIFF)
    assert (await critic.judge(TASK, Page(html=WANTED), wanted, wanted)).score == 1.0
    critique = await critic.judge(TASK, page, stiff, wanted)
    wide, phone = critique.parts["screen 800x600"], critique.parts["screen 390x844"]
    assert wide == 1.0 > phone
    assert critique.score == pytest.approx((wide + phone) / 2)
    assert critique.feedback
    assert all(sentence.startswith("On a screen of 390 x 844 pixels: ") for sentence in critique.feedback)
    with pytest.raises(ValueError, match=r"has views \['390x844'\], its reference \[\]"):
        await critic.judge(TASK, page, stiff, await renderer.render(Page(html=WANTED)))


async def test_multimodal_critic_is_shown_every_viewport(renderer: ChromiumRenderer) -> None:
    (_, asked) = rubric.messages(TASK, Page(html=WANTED), await show(renderer, WANTED), lambda shot: shot.sha256)
    said = "\n".join(part.get("text", "<picture>") for part in asked["content"])
    assert "On a screen of 390x844 pixels:\n<picture>" in said
    assert said.count("<picture>") == 2


async def test_page_must_be_valid_on_every_viewport(renderer: ChromiumRenderer) -> None:
    hidden = "@media (max-width: 500px) { body > * { display: none } }"
    render = await show(renderer, PAGE.replace("RULES", hidden))
    assert (render.outcome, len(render.shots)) == ("blank", 4)
    assert render.detail == "no screenshot shows anything (on a screen of 390x844 pixels)"
    broken = "<script>if (innerWidth < 500) missing()</script>"
    render = await show(renderer, STIFF + broken)
    assert render.outcome == "exception"
    assert "missing is not defined" in render.detail
    assert len(render.exceptions) == 1
