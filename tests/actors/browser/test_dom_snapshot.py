"""Tests of the DOM snapshot and of blank pages in real Chromium."""

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from reward.validity import complaint
from rollout.records import Page, Render, Task

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(explore=3)
STYLE = """.card{display:inline-block;background:#1d3557;color:#fff;padding:32px;margin:24px;width:220px}
button{background:#e63946;color:#fff;border:0;padding:10px 18px}"""
INSIDE = """<div class=card><h2>{name}</h2><p>{price} a month</p>
<button onclick='this.textContent=9'>Take {name}</button>
</div>"""
NAMES = (("Skiff", 12), ("Ketch", 30))


def shadowed(mode: str) -> str:
    """A page with two cards in shadow roots."""
    cards = "".join(
        f"<div id=c{n}></div><script>c{n}.attachShadow({{mode:'{mode}'}}).innerHTML="
        f"`<style>{STYLE}</style>{INSIDE.format(name=name, price=price)}`</script>"
        for n, (name, price) in enumerate(NAMES)
    )
    return f"<!doctype html><body>{cards}"


LIGHT = f"<!doctype html><style>{STYLE}</style><body>" + "".join(
    f"<div>{INSIDE.format(name=name, price=price)}</div>" for name, price in NAMES
)


def texts(render: Render) -> list[str]:
    return [block.text for block in render.blocks]


@pytest.mark.parametrize("mode", ["open", "closed"])
async def test_page_of_shadow_roots_is_judged_like_its_light_dom_equivalent(
    renderer: ChromiumRenderer, mode: str
) -> None:
    light, dark = await renderer.render(Page(html=LIGHT)), await renderer.render(Page(html=shadowed(mode)))
    assert light.shots[0].sha256 == dark.shots[0].sha256
    assert dark.blocks == light.blocks
    assert dark.boxes == light.boxes
    assert dark.explored == light.explored
    assert [one.control for one in dark.explored if one.changed] == ['button "Take Skiff"', 'button "Take Ketch"']
    task = Task(id="t", brief="b", reference_html=LIGHT)
    critique = await VisualCriticActor().judge(task, Page(html=shadowed(mode)), dark, light)
    assert (critique.score, critique.feedback) == (1.0, ())


async def test_slotted_text_is_read_where_it_is_drawn(renderer: ChromiumRenderer) -> None:
    html = """<div id=host>light</div><script>host.attachShadow({mode: 'open'}).innerHTML =
    '<p style="background:#000080;color:#fff">before <slot>unused</slot></p>'</script>"""
    seen = {block.text: block for block in (await renderer.render(Page(html=html))).blocks}
    assert set(seen) == {"before", "light"}
    assert seen["light"].color == (255, 255, 255)
    assert seen["light"].background == (0, 0, 128)


async def test_generated_text_of_style_sheets_is_read(renderer: ChromiumRenderer) -> None:
    html = """<style>body{counter-reset:n} li{list-style:none} li::before{counter-increment:n;content:counter(n) ". "}
    .tip{position:relative} .tip::after{content:attr(data-tip);position:absolute;left:300px;color:#ff0000;
    background:#ffff00;white-space:nowrap} .gone::before{content:"ghost";visibility:hidden}
    .icon::before{content:"\\f007"} p::before{content:""}</style>
    <ul><li>one<li>two</ul><p class=tip data-tip="A tip">text</p><p class=gone>here</p><i class=icon></i>"""
    render = await renderer.render(Page(html=html))
    assert texts(render) == ["1.", "one", "2.", "two", "text", "here", "A tip"]
    tip = render.blocks[-1]
    assert (tip.color, tip.background) == ((255, 0, 0), (255, 255, 0))


async def test_visible_text_of_form_fields_is_read(renderer: ChromiumRenderer) -> None:
    html = """<input value="Ada"><input placeholder="Your name"><input type=password value=secret>
    <input type=submit value="Send it"><textarea>A long text</textarea><input type=hidden value=no>
    <select><option>First<option selected>Second</select><input type=range value=7>"""
    render = await renderer.render(Page(html=html))
    assert texts(render) == ["Ada", "Your name", "Send it", "A long text", "Second"]
    send = render.blocks[2]
    button = next(box for box in render.boxes if abs(box.x + box.width / 2 - send.x - send.width / 2) < 1)
    assert button.y < send.y < button.y + button.height
    assert render.blocks[1].color == (117, 117, 117)


async def test_frame_text_is_read_within_the_frame_edges(renderer: ChromiumRenderer) -> None:
    html = """<body style="margin:0"><h1>Outside</h1><iframe style="position:absolute;left:100px;top:200px;
    border:5px solid;width:300px;height:150px" srcdoc="<body style='margin:0;background:#ffffe0'>
    <p style='margin:10px'>Inside</p>
    <p style='margin-top:900px'>Below</p>"></iframe>"""
    render = await renderer.render(Page(html=html))
    assert texts(render) == ["Outside", "Inside"]
    inside = render.blocks[1]
    assert (inside.x, inside.y, inside.background) == (115, 215, (255, 255, 224))


HEADING = "<h1>Sea</h1>"
SPARSE = {
    "a clock": "<body style='background:#000'><p style='color:#9ab;font:200 40px sans-serif'>12:47</p>",
    "a search box": "<input type=search>",
    "a bare list": "<h1>To do</h1><ul><li>Milk<li>Bread</ul><button>Add</button>",
    "a fade": f"<style>body{{animation:in 1.5s both}}@keyframes in{{from{{opacity:0}}}}</style>{HEADING}",
    "a splash": f"{HEADING}<div id=v style='position:fixed;inset:0;background:#246'></div>"
    "<script>setTimeout(() => v.remove(), 900)</script>",
    "a typewriter": "<p id=p></p><script>let n=0;(function go(){p.textContent='Hello, sea'.slice(0,n++);"
    "setTimeout(go,90)})()</script>",
}


@pytest.mark.parametrize("kind", SPARSE)
async def test_sparse_or_late_page_is_valid(renderer: ChromiumRenderer, kind: str) -> None:
    render = await renderer.render(Page(html=SPARSE[kind]))
    assert (render.outcome, render.detail, render.flags) == ("ok", "", ())


async def test_prompt_dialog_returns_its_default_text(renderer: ChromiumRenderer) -> None:
    html = "<h1 id=h></h1><script>h.textContent = `Hello, ${prompt('Who?', 'Ada')}${prompt('And?')}`</script>"
    assert texts(await renderer.render(Page(html=html))) == ["Hello, Ada"]


async def test_page_whose_content_vanishes_is_blank(renderer: ChromiumRenderer) -> None:
    html = f"{HEADING}<script>setTimeout(() => document.body.replaceChildren(), 1500)</script>"
    render = await renderer.render(Page(html=html))
    assert (render.outcome, "is gone in the last one" in render.detail) == ("blank", True)


@pytest.mark.parametrize(
    ("html", "name"),
    [
        (
            "<script type=module>import {h} from 'https://esm.example/preact'; h()</script>",
            "https://esm.example/preact",
        ),
        ("<script src='lib/app.js' defer></script>", "lib/app.js"),
        (
            f"{HEADING}<script async src='https://cdn.example/chart.js?v=4'></script><script>new Chart()</script>",
            "https://cdn.example/chart.js",
        ),
    ],
)
async def test_complaint_names_the_refused_script(renderer: ChromiumRenderer, html: str, name: str) -> None:
    render = await renderer.render(Page(html=html))
    assert render.outcome in ("blank", "exception")
    assert f'The script "{name}" is not available' in complaint(Page(html=html), render)
