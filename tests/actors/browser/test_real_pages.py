"""Tests of realistic pages: refused libraries, WebGL, random numbers, clocks, view transitions."""

import asyncio
import io

import pytest
from PIL import Image

from actors.browser.chromium.scripts import EPOCH_S
from actors.browser.renderer import ChromiumRenderer, timed
from actors.settings import BrowserSettings
from reward.validity import complaint
from rollout.records import Page, Render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=1.5, wall_s=120, explore=2)
BODY = """<body style="background:#246;color:#fff;font:30px sans-serif;padding:50px"><h1>Harbour</h1>
<div style="width:200px;height:200px;background:#e63"></div>"""
MOVES = "<style>div { animation: go 3s linear } @keyframes go { to { margin-left: 500px } }</style>"
SCRIPT = "<script src='https://cdn.example/a.js'></script>"
BUSY = "let sum = 1; for (let i = 0; i < 1e7; i++) sum = Math.imul(sum, 31) + i | 0; document.title = sum;"
SHADER = """<canvas width=1000 height=700></canvas><script>
const gl = document.querySelector('canvas').getContext('webgl'), program = gl.createProgram();
const add = (kind, source) => {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
};
add(gl.VERTEX_SHADER, 'attribute vec2 at; void main() { gl_Position = vec4(at, 0, 1); }');
add(gl.FRAGMENT_SHADER, `precision highp float; uniform float time; void main() {
  vec2 z = gl_FragCoord.xy / 900. - .5; float sum = 0.;
  for (int i = 0; i < STEPS; i++) { z = vec2(sin(z.y * 3. + time), cos(z.x * 2.)); sum += z.x; }
  gl_FragColor = vec4(fract(sum), z, 1); }`);
gl.linkProgram(program); gl.useProgram(program);
gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
(function draw(time) {
  gl.uniform1f(gl.getUniformLocation(program, 'time'), time / 1000);
  gl.drawArrays(gl.TRIANGLES, 0, 3); requestAnimationFrame(draw);
})(0);</script>"""
TURNS = """<h1 id=h style="background:#ddd">Before</h1><button id=b style="padding:20px">Go</button><script>
const go = () => document.startViewTransition(() => { h.textContent = 'After'; h.style.background = '#0a0'; });
"""


async def _shown(renderer: ChromiumRenderer, html: str) -> Render:
    return await renderer.render(Page(html=html))


@pytest.mark.parametrize("style", ["", MOVES], ids=["still", "moving"])
@pytest.mark.parametrize(
    "head",
    [
        SCRIPT,
        SCRIPT.replace("src", "defer src"),
        SCRIPT.replace("src", "async src"),
        SCRIPT.replace("https://cdn.example", ""),
        "".join(SCRIPT.replace("a.js", f"{number}.js") for number in range(30)),
        "<link rel=stylesheet href='https://cdn.example/a.css'>" + SCRIPT,
        "<script>document.write('<scr' + 'ipt src=/b.js></scr' + 'ipt>')</script>" + SCRIPT,
        SCRIPT + "<script>window.jQuery || document.write('<scr' + 'ipt src=/c.js></scr' + 'ipt>')</script>",
        "<style>@import url('https://fonts.example/css');</style><script>1</script>",
        "<script type=module>import 'https://cdn.example/a.js'</script>",
    ],
)
async def test_refused_resources_in_the_head_change_no_pixel(renderer: ChromiumRenderer, head: str, style: str) -> None:
    """The flag `nondeterministic` would mean that the first frame of the document is missing."""
    plain = await _shown(renderer, f"<!doctype html><head>{style}</head>{BODY}")
    seen = await _shown(renderer, f"<!doctype html><head>{style}{head}</head>{BODY}")
    assert (seen.outcome, seen.flags) == ("ok", ())
    assert seen.blocked
    assert timed(seen) == timed(plain)


async def test_refused_request_takes_no_page_time(renderer: ChromiumRenderer) -> None:
    said = "<p id=p></p><script>p.textContent = Date.now() + ' ' + performance.now()</script>"
    for head in ("", SCRIPT, 20 * SCRIPT):
        seen = await _shown(renderer, f"<!doctype html><head>{head}</head>{BODY}{said}")
        assert seen.blocks[-1].text == f"{EPOCH_S}000 0"


async def test_page_with_too_much_work_per_frame_gets_fewer_frames_and_a_flag(renderer: ChromiumRenderer) -> None:
    frames = f"<script>(function draw() {{ {BUSY} requestAnimationFrame(draw); }})()</script>"
    seen = await _shown(renderer, f"{BODY}{frames}")
    assert (seen.outcome, seen.detail) == ("ok", "")
    assert {"coarse_frames", "nondeterministic"} <= set(seen.flags)


async def test_webgl_time_counts_as_time_of_the_page(renderer: ChromiumRenderer) -> None:
    """WebGL runs in another process. The weight of a frame depends on the machine; the outcome is never a fault."""
    seen = await _shown(renderer, f"{BODY}{SHADER.replace('STEPS', '3000')}")
    assert seen.outcome in ("ok", "too_heavy")
    assert {"coarse_frames", "nondeterministic"} <= set(seen.flags)


async def test_page_too_heavy_with_few_frames_has_outcome_too_heavy(renderer: ChromiumRenderer) -> None:
    page = Page(html=f"{BODY}<canvas></canvas><script>setInterval(() => {{ {BUSY} }}, 10)</script>")
    seen = await renderer.render(page)
    assert seen.outcome == "too_heavy"
    assert complaint(page, seen).startswith("The page is too heavy to draw: the page used more than 1.5 s of CPU")
    assert (await _shown(renderer, BODY)).outcome == "ok"


async def test_webgl_draws_ten_frames_per_second_of_page_time(renderer: ChromiumRenderer) -> None:
    count = (
        "<p id=n></p><script>let frames = 0; (function go() { n.textContent = ++frames; requestAnimationFrame(go) })()"
    )
    light, none = f"{SHADER.replace('STEPS', '1')}{count}</script>", f"{BODY}{count}</script>"
    seen, plain = await _shown(renderer, light), await _shown(renderer, none)
    assert (seen.blocks[-1].text, plain.blocks[-1].text) == ("21", "121")
    assert (seen.outcome, seen.flags) == ("ok", ())


async def test_random_numbers_and_load_times_repeat_in_another_browser(renderer: ChromiumRenderer) -> None:
    says = """<pre id=p></pre><script>addEventListener('load', event => setTimeout(() => {
    const entry = performance.getEntriesByType('navigation')[0];
    const said = [Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint32Array(4)).join(),
      entry.duration, entry.startTime, event.timeStamp, performance.timeOrigin, performance.now()];
    p.textContent = said.join(' '); }, 0))</script>"""
    other = ChromiumRenderer(BrowserSettings())
    try:
        seen = await asyncio.gather(_shown(renderer, BODY + says), _shown(other, BODY + says))
    finally:
        await other.stop()
    assert seen[0].blocks == seen[1].blocks
    assert timed(seen[0]) == timed(seen[1])


async def test_unreproducible_page_is_flagged(renderer: ChromiumRenderer) -> None:
    key = """<p id=p></p><script type=module>
    const pair = await crypto.subtle.generateKey({name: 'ECDSA', namedCurve: 'P-256'}, true, ['sign']);
    p.textContent = (await crypto.subtle.exportKey('jwk', pair.publicKey)).x;</script>"""
    assert "nondeterministic" in (await _shown(renderer, BODY + key)).flags


async def test_page_cannot_tell_replaced_functions_from_native_ones(renderer: ChromiumRenderer) -> None:
    """Asking for the source of native functions is flagged."""
    asks = """<p id=p></p><script>
    const source = Function.prototype.toString, native = name => `function ${name}() { [native code] }`;
    const all = {random: Math.random, requestAnimationFrame, now: Performance.prototype.now, log: console.log,
      getRandomValues: crypto.getRandomValues, toString: source};
    const odd = Object.entries(all).filter(([name, made]) =>
      source.call(made) !== native(name) || made.name !== name || 'prototype' in made);
    p.textContent = 'odd: ' + odd.map(([name]) => name) + ' year ' + new Date().getFullYear();</script>"""
    seen = await _shown(renderer, BODY + asks)
    assert seen.blocks[-1].text == "odd: year 2026"
    assert "looks_for_tester" in seen.flags
    assert seen.console == ()
    honest = "<script>console.log(String(() => 1), Math.random(), Date.now())</script>"
    assert (await _shown(renderer, BODY + honest)).flags == ()


async def test_view_transition_finishes_in_page_time(renderer: ChromiumRenderer) -> None:
    """Started by a timer at 300 ms, it is over at 1,000 ms; started by a click, it is in the next screenshot."""
    timer = await _shown(renderer, f"{TURNS}setTimeout(go, 300)</script>")
    first, second, third = timed(timer)
    assert first != second == third
    assert (timer.outcome, timer.blocks[0].text) == ("ok", "After")
    click = await _shown(renderer, f"{TURNS}b.onclick = go</script>")
    assert [seen.changed for seen in click.explored] == [True]
    with Image.open(io.BytesIO(click.shots[-1].picture)) as picture:
        red, green, blue = picture.convert("RGB").getpixel((600, 40))
    assert max(red, abs(green - 170), blue) < 16


async def test_prompt_dialog_returns_its_default_text(renderer: ChromiumRenderer) -> None:
    asks = "<p id=p></p><script>p.textContent = `${prompt('Name?', 'Captain')}, ${prompt('And?')}.`</script>"
    assert (await _shown(renderer, BODY + asks)).blocks[-1].text == "Captain, ."
