"""Tests of the portable renderer: a whole Chromium instead of the headless shell; skipped if none is installed."""

import asyncio
import io
import logging
from pathlib import Path

import pytest
from PIL import Image

from actors.browser.chromium import launch
from actors.browser.chromium.scripts import EPOCH_S
from actors.browser.engine import FREE
from actors.browser.renderer import ChromiumRenderer, timed
from actors.settings import BrowserSettings
from cluster import doctor
from cluster.settings import RunSettings
from rollout.errors import BrowserFault
from rollout.records import Page, Probe, ProbeStep

WHOLE = launch.find_whole()
SETTINGS = BrowserSettings(executable=WHOLE, cpu_budget_s=2.0)
NEEDS_IT = [
    pytest.mark.browser,
    pytest.mark.skipif(WHOLE is None, reason=f"no whole Chromium is installed; looked for {', '.join(launch.WHOLE)}"),
    pytest.mark.asyncio(loop_scope="module"),
]
INK = "<h1>Hi</h1><div style='height:99px;background:teal'></div>"
TICKING = f"""{INK}<div id=b style="width:9px"></div><div id=c style="width:9px"></div><script>let ticks = 0;
setInterval(() => {{ b.style.width = ++ticks * 10 + 'px'; b.textContent = Date.now(); }}, 100);
(function draw(time) {{ c.style.width = time / 10 + Math.random() * 50 + 'px'; requestAnimationFrame(draw); }})(0);
for (const each of [b, c]) each.style.cssText += ';height:50px;background:tomato'</script>"""
FORM = f"""{INK}<input id=wish><button id=add>Add</button><p id=said></p><script>
add.onclick = event => {{ if (event.isTrusted) said.textContent = wish.value; }}</script>"""


class TestWhole:
    """Tests with a whole Chromium."""

    pytestmark = NEEDS_IT

    async def test_tall_page_has_a_full_page_image(self) -> None:
        tall = "<!doctype html><body style='margin:0'><div style='height:900px;background:teal'></div>"
        renderer = ChromiumRenderer(BrowserSettings(executable=WHOLE, full_page_height=2000))
        try:
            seen = await renderer.render(Page(html=f"{tall}<div style='height:300px;background:tomato'></div>"))
        finally:
            await renderer.stop()
        with Image.open(io.BytesIO(seen.shots[3].picture)) as picture:
            assert picture.size == (1024, 1200)
            assert [picture.getpixel((9, y)) for y in (0, 899, 900, 1199)] == [(0, 128, 128)] * 2 + [(255, 99, 71)] * 2

    async def test_scripts_and_timers_run_on_page_time(
        self, renderer: ChromiumRenderer, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = await renderer.render(Page(html=TICKING))
        other = ChromiumRenderer(BrowserSettings(executable=WHOLE, recycle_pages=1))
        with caplog.at_level(logging.WARNING):
            try:
                second = await other.render(Page(html=TICKING))
                await other.render(Page(html=INK))
            finally:
                await other.stop()
        assert (first.outcome, first.flags) == ("ok", ())
        assert [shot.at_ms for shot in first.shots] == [0, 1000, 2000]
        assert Image.open(io.BytesIO(first.shots[0].picture)).size == first.viewport == (1024, 768)
        assert len(set(timed(first))) == 3
        assert timed(first) == timed(second)
        assert first.blocks == second.blocks
        assert [block.text for block in first.blocks] == ["Hi", str(EPOCH_S * 1000 + 2000)]
        assert first.renderer == second.renderer == await renderer.ping()
        assert first.renderer.startswith(f"{FREE}/Chrome")
        said = [line for line in caplog.messages if FREE in line]
        assert len(said) == 1
        assert "page time" in said[0]
        assert other.news() == (said[0],)

    @pytest.mark.parametrize(
        ("html", "outcome", "detail"),
        [
            ("<body></body>", "blank", ""),
            (INK + "<script>missing()</script>", "exception", "missing is not defined"),
            (INK + "<script>setTimeout(() => { while (true) {} }, 1500)</script>", "timeout", "of CPU"),
            (INK + "<script>while (true) alert(1)</script>", "timeout", "dialog flood"),
            (INK + "<script>const a = []; for (;;) a.push(new Array(1e6).fill(1.5))</script>", "crash", "died"),
            (INK + "<div style='height:200000px'></div>", "too_large", "200"),
            (INK + "<script>location = 'https://example.org/'</script>", "blocked_navigation", "example.org"),
        ],
        ids=lambda value: None if len(str(value)) > 40 else str(value),
    )
    async def test_page_fault_becomes_an_outcome(
        self, renderer: ChromiumRenderer, html: str, outcome: str, detail: str
    ) -> None:
        render = await renderer.render(Page(html=html))
        assert (render.outcome, detail in render.detail) == (outcome, True), render.detail
        assert (await renderer.render(Page(html=TICKING))).outcome == "ok"

    async def test_probes_operate_the_page(self, renderer: ChromiumRenderer) -> None:
        steps = (
            ProbeStep(kind="type", selector="#wish", value="Tea"),
            ProbeStep(kind="click", selector="#add"),
            ProbeStep(kind="expect_text", selector="#said", value="Tea"),
            ProbeStep(kind="expect_change"),
        )
        still = Probe(name="still", steps=(ProbeStep(kind="expect_change"),))
        render = await renderer.render(Page(html=FORM), (Probe(name="add", steps=steps), still))
        assert [(result.name, result.held) for result in render.probes] == [("add", True), ("still", False)]

    async def test_database_answers_arrive_before_the_first_screenshot(self, renderer: ChromiumRenderer) -> None:
        asks = "indexedDB.databases().then(all => caches.keys()).then(all => { said.textContent = 'none' })"
        render = await renderer.render(Page(html=f"{INK}<p id=said></p><script>{asks}</script>"))
        assert (len(set(timed(render))), render.flags) == (1, ())
        assert "none" in [block.text for block in render.blocks]

    async def test_page_with_frame_animations_is_rendered_twice(self, renderer: ChromiumRenderer) -> None:
        """The two renders may differ; a page with different renders is marked and not cached."""
        slide = "<style>@keyframes go{to{margin-left:600px}} div{animation:go 3s linear;width:99px}</style>"
        for html, looks, pictures in ((f"{slide}{INK}", 2, 3), (INK, 1, 1)):
            before = renderer.supervisor.pages
            render = await renderer.render(Page(html=html))
            assert (renderer.supervisor.pages - before, len(set(timed(render)))) == (looks, pictures)
        noise = "new Worker(URL.createObjectURL(new Blob(['setInterval(() => postMessage(Math.random()), 1)'])))"
        restless = (
            f"{INK}<p id=said></p><script>{noise}.onmessage = event => {{ said.textContent = event.data }}</script>"
        )
        assert "nondeterministic" in (await renderer.render(Page(html=restless))).flags

    async def test_doctor_accepts_it_and_recommends_the_headless_shell(self) -> None:
        settings = RunSettings(browser=BrowserSettings(executable=WHOLE))
        finding = await asyncio.to_thread(doctor.check_browser, settings)
        assert finding.status == "warn"
        assert "chromium-headless-shell" in finding.fix


def test_headless_shell_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chromium, shell = tmp_path / "chromium", tmp_path / "headless_shell"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(launch, "WHOLE", (str(chromium),))
    with pytest.raises(BrowserFault, match="apt-get install chromium-headless-shell"):
        launch.find_executable(None)
    chromium.touch(0o755)
    assert launch.find_executable(None) == chromium
    downloaded = tmp_path / ".cache/ms-playwright/chromium_headless_shell-1/any/headless_shell"
    downloaded.parent.mkdir(parents=True)
    downloaded.touch(0o755)
    assert launch.find_executable(None) == downloaded
    shell.touch(0o755)
    assert launch.find_executable(None) == shell
