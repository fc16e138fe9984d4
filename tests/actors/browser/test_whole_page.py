"""Tests of full-page screenshots: content, height limit, and no effect on the page."""

import io

import pytest
from PIL import Image

from actors.browser.renderer import ChromiumRenderer, timed
from actors.settings import BrowserSettings
from reward.multimodal import rubric
from rollout.records import WHOLE_PAGE, Page, Probe, ProbeStep, Render, Shot, Task, Viewport

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

MOST = 2000
SETTINGS = BrowserSettings(full_page_height=MOST)
TALL = """<!doctype html><style>body{margin:0} section{height:700px} p{margin:0;position:relative;z-index:1}</style>
<body><section style="background:#c00"><p>One</p></section><section style="background:#0c0"><p>Two</p></section>
<section style="background:#00c;height:HEIGHTpx"><p>Three</p></section>"""
SHORT = TALL.replace("HEIGHT", "300")
RED, GREEN, BLUE, WHITE = (204, 0, 0), (0, 204, 0), (0, 0, 204), (255, 255, 255)
REVEALED = """<!doctype html><style>body{margin:0} section{height:700px;background:#00c;opacity:0;
transition:opacity .6s} .in{opacity:1} p{margin:0;color:#fff}</style><section><p>Tides</p></section>
<section></section><section></section><script>
const seen = new IntersectionObserver(entries => entries.forEach(one => one.isIntersecting &&
  one.target.classList.add('in')));
document.querySelectorAll('section').forEach(one => seen.observe(one));</script>"""
ENDLESS = """<!doctype html><body style="margin:0"><div id=all></div><script>
const more = () => { for (let i = 0; i < 3; i++) all.append(Object.assign(document.createElement('div'),
  {style: 'height:300px;border-top:1px solid teal', textContent: 'Post ' + all.childElementCount})); };
more(); onscroll = more;</script>"""
HERO = """<!doctype html><style>body{margin:0} header{position:fixed;top:0;height:50px;width:100%;background:#c00}
nav{position:sticky;top:50px;height:30px;background:#ff0} #hero{height:100vh;background:#0c0} #rest{height:900px;
background:#00c}</style><header></header><div id=hero></div><div id=rest><nav></nav></div><p id=said></p><script>
let told = [];
for (const kind of ['scroll', 'resize']) addEventListener(kind, () => {
  told.push(`${kind} ${innerWidth}x${innerHeight} ${scrollY}`); said.textContent = told.join(', '); });</script>"""


def _whole(render: Render) -> tuple[Shot, Image.Image]:
    (shot,) = (shot for shot in render.shots if shot.label == WHOLE_PAGE)
    with Image.open(io.BytesIO(shot.picture)) as picture:
        assert picture.size == (shot.width, shot.height)
        return shot, picture.convert("RGB")


def _stripes(picture: Image.Image, x: int = 900) -> list[tuple[object, int]]:
    """Colours along a column from the top, each with its number of pixels."""
    found: list[tuple[object, int]] = []
    for y in range(picture.height):
        color = picture.getpixel((x, y))
        found = [*found[:-1], (color, found[-1][1] + 1)] if found and found[-1][0] == color else [*found, (color, 1)]
    return found


async def test_tall_page_has_a_full_page_image(renderer: ChromiumRenderer) -> None:
    render = await renderer.render(Page(html=SHORT))
    shot, picture = _whole(render)
    assert (shot.width, shot.height, render.document) == (1024, 1700, (1024, 1700))
    assert _stripes(picture) == [(RED, 700), (GREEN, 700), (BLUE, 300)]
    assert [one.label for one in render.shots] == ["", "", "", WHOLE_PAGE]


async def test_full_page_image_is_cut_at_the_limit_and_the_judge_is_told(renderer: ChromiumRenderer) -> None:
    page = Page(html=TALL.replace("HEIGHT", "1800"))
    render = await renderer.render(page)
    shot, picture = _whole(render)
    assert (shot.height, render.document) == (MOST, (1024, 3200))
    assert _stripes(picture) == [(RED, 700), (GREEN, 700), (BLUE, 600)]
    (_, asked) = rubric.messages(Task(id="tall", brief="Tall."), page, render, lambda shot: shot.sha256)
    said = "\n".join(part.get("text", "<picture>") for part in asked["content"])
    assert "The upper 2,000 pixels of the page, after it was scrolled through once; " in said
    assert "The page goes on for 1,200 pixels below the screenshots, which nobody showed you" in said


async def test_page_without_scrolling_has_no_full_page_image(renderer: ChromiumRenderer) -> None:
    for html in (SHORT.replace("700", "250"), SHORT.replace("body{", "body{overflow:hidden;")):
        assert not [shot for shot in (await renderer.render(Page(html=html))).shots if shot.label]


async def test_content_revealed_on_scrolling_is_captured(renderer: ChromiumRenderer) -> None:
    render = await renderer.render(Page(html=REVEALED))
    _, picture = _whole(render)
    assert _stripes(picture) == [(BLUE, MOST)]
    with Image.open(io.BytesIO(render.shots[2].picture)) as screen:
        assert screen.size == (1024, 768)


async def test_growing_page_is_captured_up_to_the_limit(renderer: ChromiumRenderer) -> None:
    page = Page(html=ENDLESS)
    render = await renderer.render(page)
    shot, picture = _whole(render)
    assert shot.height == MOST
    assert render.document[1] > MOST
    assert render.outcome == "ok"
    assert {color for color, _ in _stripes(picture.crop((0, MOST - 400, 1024, MOST)))} == {(0, 128, 128), WHITE}


async def test_page_that_breaks_on_scrolling_stays_valid(renderer: ChromiumRenderer) -> None:
    """The page had rendered before. A page that hangs on scrolling loses its full-page image; an exception loses
    nothing."""
    hung = await renderer.render(Page(html=f"{SHORT}<script>onscroll = () => {{ for (;;); }}</script>"))
    assert (hung.outcome, [shot.label for shot in hung.shots]) == ("ok", [""] * 3)
    thrown = await renderer.render(Page(html=f"{SHORT}<script>onscroll = () => {{ missing(); }}</script>"))
    assert (thrown.outcome, thrown.shots[-1].label) == ("ok", WHOLE_PAGE)


async def test_page_is_not_resized_and_fixed_elements_appear_once(renderer: ChromiumRenderer) -> None:
    resized = Probe(name="resized", steps=(ProbeStep(kind="expect_text", selector="#said", value="resize"),))
    render = await renderer.render(Page(html=HERO), (resized,))
    _, picture = _whole(render)
    assert _stripes(picture)[:4] == [(RED, 50), (GREEN, 718), ((255, 255, 0), 30), (BLUE, 870)]
    noticed = "scroll 1024x768 768, scroll 1024x768 950, scroll 1024x768 0"
    assert [probe.detail for probe in render.probes] == [
        f"step 1, expect_text: '#said' shows '{noticed}', wanted 'resize'"
    ]


async def test_other_parts_of_the_render_are_unchanged(renderer: ChromiumRenderer) -> None:
    plain = ChromiumRenderer(BrowserSettings())
    try:
        for html in (SHORT, REVEALED, HERO, ENDLESS):
            with_it, without = await renderer.render(Page(html=html)), await plain.render(Page(html=html))
            assert timed(with_it) == timed(without)
            assert len(without.shots) == 3
            assert (with_it.blocks, with_it.boxes, with_it.flags) == (without.blocks, without.boxes, without.flags)
    finally:
        await plain.stop()


async def test_full_page_image_is_reproducible_to_the_pixel(renderer: ChromiumRenderer) -> None:
    moving = REVEALED.replace(
        "<script>", "<style>section{animation:go 3s linear} @keyframes go{to{margin-left:90px}}</style><script>"
    )
    other = ChromiumRenderer(SETTINGS)
    try:
        for html in (REVEALED, moving, ENDLESS, HERO):
            seen = [await one.render(Page(html=html)) for one in (renderer, renderer, other)]
            assert len({shot.sha256 for render in seen for shot in render.shots if shot.label}) == 1
    finally:
        await other.stop()


async def test_each_viewport_has_its_full_page_image(renderer: ChromiumRenderer) -> None:
    screens = Viewport.of("800x600"), Viewport.of("mobile")
    render = await renderer.render(Page(html=SHORT), (), screens)
    assert [(shot.label, shot.width, shot.height) for shot in render.shots][3:] == [
        (WHOLE_PAGE, 800, 1700),
        ("390x844", 390, 844),
        (f"390x844 {WHOLE_PAGE}", 390, 1700),
    ]
    assert render.views[0].document == (390, 1700)
