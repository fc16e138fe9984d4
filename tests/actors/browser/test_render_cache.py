"""Tests of the render cache: renders outlive their browser, the size is bounded, unreliable renders are not cached."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.browser.render_cache import RenderCache, code_hash
from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import ControlTrial, Page, Probe, ProbeResult, ProbeStep, Render, Shot, TextBlock, View, Viewport

INK = "<!doctype html><body><div style='height:200px;background:#936'></div>"
PAGE = INK + "<h1>Kept</h1><button id=b>Press</button>"
ROOT = Path(__file__).parents[3]
SHOW = """
import asyncio, sys
from pathlib import Path
from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from rollout.records import Page

async def main():
    renderer = ChromiumRenderer(BrowserSettings(), cache=Path(sys.argv[1]))
    await renderer.start()
    try:
        render = await renderer.render(Page(html=sys.argv[2]))
        print(render.outcome, render.seconds == 0.0, *render.flags)
    finally:
        await renderer.stop()

asyncio.run(main())
"""
PROBE = Probe(name="there", steps=(ProbeStep(kind="expect_visible", selector="#b"),))


def picture(size: int, mark: int = 0) -> tuple[str, bytes]:
    png = mark.to_bytes(4) * (size // 4)
    return hashlib.sha256(png).hexdigest(), png


def seen(name: str) -> Render:
    block = TextBlock(
        text="Ünï \u2603", x=1, y=2.5, width=3, height=4, color=(1, 2, 3), background=(9, 9, 9), font_px=16, weight=400,
        tag="p",
    )  # fmt: skip
    shot = Shot(at_ms=0, sha256=name, width=8, height=8, picture=b"left out")
    probes = (ProbeResult(name="a", held=True),)
    screen = Viewport(width=390, height=844)
    view = View(viewport=screen, blocks=(block,), boxes=(), document=(390, 900), background=(1, 2, 3))
    return Render(
        page_sha256="p", outcome="ok", shots=(shot,), blocks=(block,), probes=probes, views=(view,), flags=("endless",),
        explored=(ControlTrial(control="button", changed=True, thrown=("Error",)),),
    )  # fmt: skip


def test_cached_render_round_trips(tmp_path: Path) -> None:
    name, png = picture(400)
    RenderCache(tmp_path, 1, bytes).keep(seen(name), {name: png}, "engine", PROBE)
    found = RenderCache(tmp_path, 1, bytearray).find("engine", PROBE)
    assert found == seen(name)
    assert found.shots[0].picture == bytearray(png)
    assert RenderCache(tmp_path, 1, bytes).find("another engine", PROBE) is None


@pytest.mark.parametrize("part", ["renders", "pictures"])
def test_damaged_entry_is_rendered_again(tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture) -> None:
    name, png = picture(400)
    cache = RenderCache(tmp_path, 1, bytes)
    cache.keep(seen(name), {name: png}, "a")
    (path,) = (path for path in (tmp_path / part).rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:50])
    with caplog.at_level(logging.WARNING):
        assert cache.find("a") is None
    assert "rendered again" in caplog.text
    cache.keep(seen(name), {name: png}, "a")
    assert cache.find("a") == seen(name)


@pytest.mark.parametrize(
    "change", [{"outcome": "timeout"}, {"outcome": "crash"}, {"flags": ("nondeterministic",)}], ids=str
)
def test_outcomes_that_depend_on_the_machine_are_not_cached(tmp_path: Path, change: dict[str, str]) -> None:
    name, png = picture(400)
    cache = RenderCache(tmp_path, 1, bytes)
    cache.keep(replace(seen(name), **change), {name: png}, "a")
    assert cache.find("a") is None


def test_full_disk_does_not_lose_the_render(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, png = picture(400)
    (tmp_path / "full").touch()
    cache = RenderCache(tmp_path / "full" / "renders", 1, bytes)
    cache.keep(seen(name), {name: png}, "a")
    assert "is not cached" in caplog.text
    assert cache.find("a") is None


def test_cache_folder_stays_within_its_size_limit(tmp_path: Path) -> None:
    cache = RenderCache(tmp_path, 1, bytes)
    for mark in range(12):
        name, png = picture(200_000, mark)
        cache.keep(seen(name), {name: png}, mark)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size <= (1 << 20) + 200_000
    assert cache.find(11) is not None
    assert cache.find(0) is None


@pytest.mark.browser
async def test_cached_render_outlives_its_browser(tmp_path: Path) -> None:
    renders = []
    for _ in range(2):
        renderer = ChromiumRenderer(BrowserSettings(), cache=tmp_path)
        await renderer.start()
        try:
            renders.append(await renderer.render(Page(html=PAGE), (PROBE,)))
            bare = await renderer.render(Page(html=PAGE))
        finally:
            await renderer.stop()
    assert renders[1].seconds == 0.0 < renders[0].seconds
    assert [shot.picture for shot in renders[1].shots] == [shot.picture for shot in renders[0].shots]
    assert replace(renders[0], seconds=0.0, cpu_seconds=0.0) == renders[1]
    assert bare.probes == () != renders[1].probes


@pytest.mark.browser
async def test_page_with_real_time_work_is_flagged(tmp_path: Path) -> None:
    """A worker thread runs in real time, which page time does not stop."""
    body = "<body><div style='height:200px;background:#936'></div><h1 id=h>0</h1>"
    start = "<script>const w = new Worker(URL.createObjectURL(new Blob(["
    work = "'const t = Date.now(); let n = 0; setInterval(() => postMessage(n += Math.random()), 1)'"
    html = f"<!doctype html>{body}{start}{work}])));w.onmessage = e => h.textContent = e.data</script>"
    renderer = ChromiumRenderer(BrowserSettings(), cache=tmp_path)
    await renderer.start()
    try:
        restless = await renderer.render(Page(html=html))
        calm = await renderer.render(Page(html=PAGE + "<p>about a Worker</p>"))
    finally:
        await renderer.stop()
    assert "nondeterministic" in restless.flags
    assert "nondeterministic" not in calm.flags


def test_code_hash_changes_with_every_imported_module_and_no_other(tmp_path: Path) -> None:
    package = tmp_path / "judging"
    package.mkdir()
    sources = {
        "rule": "from judging.ink import SHARE\n", "ink": "import judging.deep\nSHARE = 1\n", "deep": "", "other": "",
    }  # fmt: skip
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    importer = tmp_path / "importer.py"
    importer.write_text("from judging import rule\n")
    before = code_hash(package, [importer])
    for name, counts in (("rule", True), ("ink", True), ("deep", True), ("other", False)):
        (package / f"{name}.py").write_text(sources[name] + "LIMIT = 2\n")
        assert (code_hash(package, [importer]) != before) is counts, name
        (package / f"{name}.py").write_text(sources[name])


@pytest.mark.browser
@pytest.mark.parametrize("file", ["hacks.py", "validity.py"])
def test_cached_render_is_invalid_after_a_change_of_the_judging_code(tmp_path: Path, file: str) -> None:
    for room in ("actors", "reward", "rollout"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))

    def show() -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", SHOW, str(tmp_path / "cache"), PAGE]
        shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.strip()

    assert [show(), show()] == ["ok False", "ok True"], "the second comes from the cache"
    with (tmp_path / "reward" / file).open("a", encoding="utf-8") as source:
        source.write("\n\ndef hacking_flags(*_):\n    return ('judged_anew',)\n")
    assert show() == ("ok False judged_anew" if file == "hacks.py" else "ok False")
