"""Tests of pages with canvas, audio, video, workers, WebAssembly and WebGPU: valid, readable, the same every time."""

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(wall_s=120)
WASM = "0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11"
"""A WebAssembly module that exports `add`."""
PAGES = {
    "2D canvas": (
        "<canvas id=c width=400 height=200></canvas><script>const p = c.getContext('2d'); p.fillStyle = '#c30';"
        "p.fillRect(10, 10, 200, 90); p.filter = 'blur(3px)'; p.fillRect(240, 10, 90, 90); out.textContent ="
        "p.getImageData(20, 20, 1, 1).data.slice(0, 3).join()</script>",
        "204,51,0",
    ),
    "offscreen canvas": (
        "<canvas id=c width=300 height=100></canvas><script>const s = new OffscreenCanvas(300, 100);"
        "s.getContext('2d').fillRect(0, 0, 150, 100); c.getContext('bitmaprenderer').transferFromImageBitmap("
        "s.transferToImageBitmap()); out.textContent = 'drawn'</script>",
        "drawn",
    ),
    "audio graph": (
        "<script>const a = new AudioContext(), o = a.createOscillator(); o.connect(a.createGain())"
        ".connect(a.destination); o.start(); out.textContent = typeof a.sampleRate</script>",
        "number",
    ),
    "audio offline": (
        "<script>const a = new OfflineAudioContext(1, 4410, 44100), o = a.createOscillator(); o.connect(a.destination);"
        "o.start(); a.startRendering().then(b => out.textContent = `${b.length} samples`)</script>",
        "4410 samples",
    ),
    "audio element": (
        "<audio controls src='music.mp3'></audio><script>const a = document.querySelector('audio');"
        "a.play().catch(e => out.textContent = 'no sound')</script>",
        "no sound",
    ),
    "video element": (
        "<video controls width=320 height=180 poster='p.png'><source src='film.mp4'></video><script>"
        "const v = document.querySelector('video'); v.querySelector('source').onerror = () => out.textContent ="
        "'no film'</script>",
        "no film",
    ),
    "worker": (
        "<script>const w = new Worker(URL.createObjectURL(new Blob(['onmessage = e => postMessage(e.data * 2)'])));"
        "w.onmessage = e => out.textContent = `worker says ${e.data}`; w.postMessage(21)</script>",
        "worker says 42",
    ),
    "WebAssembly": (
        f"<script>WebAssembly.instantiate(new Uint8Array([{WASM}])).then(m => out.textContent ="
        "`sum ${m.instance.exports.add(40, 2)}`)</script>",
        "sum 42",
    ),
    "WebGPU": (
        "<script>(async () => { const a = navigator.gpu ? await navigator.gpu.requestAdapter() : null;"
        "out.textContent = a ? 'WebGPU' : 'no WebGPU' })()</script>",
        "no WebGPU",
    ),
    "camera": (
        "<script>navigator.mediaDevices.getUserMedia({video: true}).catch(e => out.textContent = e.name)</script>",
        "NotFoundError",
    ),
    "devices": (
        "<script>navigator.mediaDevices.enumerateDevices().then(d => out.textContent = `${d.length} devices`)</script>",
        "0 devices",
    ),
}


@pytest.mark.parametrize("name", ["camera", "devices"])
async def test_new_browser_answers_a_page_that_asks_for_devices_at_once(name: str) -> None:
    body, text = PAGES[name]
    renderer = ChromiumRenderer(SETTINGS)
    await renderer.start()
    render = await renderer.render(Page(html=f"<!doctype html><body><h1>Station</h1><p id=out>waiting</p>{body}"))
    await renderer.stop()
    assert text in [block.text for block in render.blocks]
    assert len({shot.sha256 for shot in render.shots}) == 1


@pytest.mark.parametrize(("body", "text"), PAGES.values(), ids=PAGES)
async def test_page_with_media_is_valid_and_the_same_every_time(
    renderer: ChromiumRenderer, body: str, text: str
) -> None:
    html = f"<!doctype html><body style='background:#eef'><h1>Station</h1><p id=out>waiting</p>{body}"
    first = await renderer.render(Page(html=html))
    assert first.valid, f"{first.outcome}: {first.detail}"
    assert text in [block.text for block in first.blocks]
    again = await renderer.render(Page(html=f"{html}<!-- again -->"))
    assert [shot.sha256 for shot in again.shots] == [shot.sha256 for shot in first.shots]
    assert "nondeterministic" not in first.flags
