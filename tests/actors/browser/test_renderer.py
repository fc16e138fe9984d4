"""Tests of the Chromium renderer: outcomes, determinism, isolation, recovery. Most tests share one browser."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.browser.chromium.launch import ISOLATIONS, Isolation
from actors.browser.chromium.static_page import is_still
from actors.browser.renderer import ChromiumRenderer, timed
from actors.browser.supervisor import CANARY
from actors.settings import BrowserSettings
from reward.designs import tasks
from reward.validity import SENTENCES, complaint
from rollout.errors import BrowserFault
from rollout.records import Page, Render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=1.5)
INK = "<h1>Hi</h1><div style='height:99px;background:teal'></div>"
STILL = """<title>Still</title><body style="background:#123456"><h1 style="color:rgb(250, 10, 20)">Hello</h1>
<button style="width:300px;height:100px">Go</button>"""
MOVING = """<style>@keyframes slide{to{margin-left:600px}} #a{animation:slide 3s linear}
div{width:80px;height:80px;background:teal}</style><h1>Moving</h1><div id=a></div><div id=b></div><div id=c></div>
<script>let ticks = 0; setInterval(() => { b.style.width = ++ticks * 10 + 'px'; }, 100);
(function draw(time) { c.style.width = time / 10 + Math.random() * 50 + 'px'; requestAnimationFrame(draw); })(0);
</script>"""
MEMORY_BOMB = "<script>const all = []; while (true) all.push(new Array(1e6).fill(1.5))</script>"
BUFFER_BOMB = "<script>const all = []; try { while (all.length < 50) all.push(new ArrayBuffer(1e8)) } catch {}</script>"
DEEP = """<script>let last = document.body;
for (let i = 0; i < 3000; i++) { const next = document.createElement('span'); last.append(next); last = next; }
last.textContent = 'deep';</script>"""
PIXEL = "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>"


KEEPS = f"""{INK}<p id=said></p><script>
const opening = indexedDB.open('shop', 1);
opening.onupgradeneeded = () => opening.result.createObjectStore('wares');
opening.onsuccess = () => {{
  const writing = opening.result.transaction('wares', 'readwrite');
  writing.objectStore('wares').put('a kettle', 1);
  writing.oncomplete = () => {{
    const asking = opening.result.transaction('wares').objectStore('wares').get(1);
    asking.onsuccess = () => {{ said.textContent = asking.result; }};
  }};
}};</script>"""
"""A page that opens a database, writes to it and shows the value it reads."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def pictures(render: Render) -> list[str]:
    return [shot.sha256 for shot in render.shots]


def works(process: psutil.Process) -> bool:
    """Whether a process is running: neither gone nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_render_of_a_page_is_complete(renderer: ChromiumRenderer) -> None:
    render = await renderer.render(Page(html=STILL))
    assert (render.outcome, render.detail, render.title) == ("ok", "", "Still")
    assert [shot.at_ms for shot in render.shots] == [0, 1000, 2000]
    assert all(hashlib.sha256(shot.picture).hexdigest() == shot.sha256 for shot in render.shots)
    assert len(set(pictures(render))) == 1
    heading = render.blocks[0]
    assert (heading.text, heading.tag, heading.weight, heading.font_px) == ("Hello", "h1", 700, 32.0)
    assert (heading.color, heading.background) == ((250, 10, 20), (0x12, 0x34, 0x56))
    assert render.background == (0x12, 0x34, 0x56)
    assert [box.tag for box in render.boxes] == ["button"]
    assert render.document == render.viewport == (1024, 768)
    assert render.renderer == await renderer.ping()


async def test_page_time_advances_and_is_reproducible_in_another_browser(renderer: ChromiumRenderer) -> None:
    first = await renderer.render(Page(html=MOVING))
    other = ChromiumRenderer(BrowserSettings())
    try:
        second = await other.render(Page(html=MOVING))
    finally:
        await other.stop()
    assert len(set(pictures(first))) == 3
    assert pictures(first) == pictures(second)
    assert [block.x for block in first.blocks] == [block.x for block in second.blocks]


async def test_refused_requests_fail_before_the_first_screenshot(renderer: ChromiumRenderer) -> None:
    """Requests are refused in real time. Page time also waits for requests that follow a refusal, up to a limit."""
    asking = "{ try { await fetch('/' + n) } catch (e) { document.body.append(' ' + n) } }"
    fetched = f"<script type=module>for (let n = 0; n < 12; n++) {asking}</script>"
    drawn = """<script>(function draw(n) { const image = new Image(); image.src = '/' + n;
    image.onerror = () => { document.body.append(' ' + n); if (n < 11) draw(n + 1) } })(0)</script>"""
    for chain in (fetched, drawn):
        seen = [await renderer.render(Page(html=f"{INK}<p>heard</p>{chain}")) for _ in range(5)]
        assert len({picture for render in seen for picture in timed(render)}) == 1, chain
        assert any(block.text.endswith("11") for block in seen[0].blocks)
    without_end = Page(html=f"{INK}<script type=module>for (let n = 0; ; n++) {asking}</script>")
    assert (await renderer.render(without_end)).outcome == "ok"


async def test_database_answers_arrive_before_the_first_screenshot(renderer: ChromiumRenderer) -> None:
    """A database answers in real time. One that never answers, or endless requests, must not block the render."""
    seen = [await renderer.render(Page(html=KEEPS)) for _ in range(3)]
    assert {(timed(render), render.flags) for render in seen} == {(timed(seen[0]), ())}
    assert len(set(timed(seen[0]))) == 1
    assert "a kettle" in [block.text for block in seen[0].blocks]
    held = "indexedDB.open('x').onsuccess = e => { kept = e.target.result; indexedDB.deleteDatabase('x') }"
    talk = "(async () => { for (let n = 0; ; n++) { await caches.keys(); document.title = n } })()"
    for script in (held, talk):
        assert (await renderer.render(Page(html=f"{INK}<script>{script}</script>"))).outcome == "ok", script


@pytest.mark.parametrize(
    ("html", "outcome", "detail"),
    [
        ("<body></body>", "blank", ""),
        (INK + "<script>missing()</script>", "exception", "missing is not defined"),
        (INK + "<script>let x = ;</script>", "exception", "SyntaxError"),
        (INK + "<script>while (true) {}</script>", "timeout", "of CPU"),
        (INK + "<script>setTimeout(() => { while (true) {} }, 1500)</script>", "timeout", "of CPU"),
        (INK + "<script>while (true) alert(1)</script>", "timeout", "dialog flood"),
        (INK + MEMORY_BOMB, "crash", "died"),
        (INK + "<!-- -->" * 300_000, "too_large", "2,000,000 bytes"),
        (INK + "<div style='height:200000px'></div>", "too_large", "200"),
        (INK + "<script>location = 'https://example.org/'</script>", "blocked_navigation", "example.org"),
        (INK + "<script>location = 'about:blank'</script>", "blocked_navigation", "about:blank"),
        (INK + "<script>location.reload()</script>", "blocked_navigation", ".test"),
    ],
    ids=lambda value: None if len(str(value)) > 40 else str(value),
)
async def test_page_fault_becomes_an_outcome(renderer: ChromiumRenderer, html: str, outcome: str, detail: str) -> None:
    render = await renderer.render(Page(html=html))
    assert (render.outcome, detail in render.detail) == (outcome, True), render.detail
    said = complaint(Page(html=html), render)
    assert said.startswith(SENTENCES[render.outcome])
    assert detail in said or len(render.detail) > 200
    after = await renderer.render(Page(html=f"{MOVING}<!-- {hash(html)} -->"))
    assert pictures(after) == pictures(await renderer.render(Page(html=MOVING)))


@pytest.mark.parametrize(
    "html",
    [
        INK + "<script>setTimeout(() => missing(), 500); Promise.reject(new Error('late'))</script>",
        INK + "<script>alert(1); confirm(2); prompt(3)</script>",
        INK + "<script>for (let i = 0; i < 50; i++) window.open('https://example.org/')</script>",
        INK + "<script>for (let i = 0; i < 100000; i++) console.log('x'.repeat(5000))</script>",
        INK + "<iframe src='https://example.org/'></iframe><script src='https://example.org/a.js'></script>",
        INK + "<div style='height:50000px'></div>",
        INK + BUFFER_BOMB,
        INK + PIXEL + "<script>location.hash = 'a'</script>",
        INK + "<script>document.title = 'half a pair: \\ud83d'; console.log('\\ud83d')</script>",
        INK + "<script>onbeforeunload = () => 'stay'; onunload = () => { while (true) {} }</script>",
        INK + DEEP,
    ],
)
async def test_unusual_but_permitted_behaviour_is_valid(renderer: ChromiumRenderer, html: str) -> None:
    render = await renderer.render(Page(html=html))
    assert (render.outcome, render.detail) == ("ok", "")
    assert len(render.console) <= 100
    said = "".join((render.title, *render.console))
    assert said == said.encode("utf-8", "replace").decode()


async def test_late_exceptions_are_listed(renderer: ChromiumRenderer) -> None:
    page = Page(html=INK + "<script>console.log('so', 1); setTimeout(() => missing(), 500)</script>")
    render = await renderer.render(page)
    assert render.outcome == "ok"
    assert render.console == ("log: so 1",)
    assert [line.splitlines()[0] for line in render.exceptions] == ["ReferenceError: missing is not defined"]


@pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda isolation: isolation.name)
async def test_page_cannot_reach_the_network(
    listener: socket.socket, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.browser.supervisor.ISOLATIONS", (isolation,))
    home = f"127.0.0.1:{listener.getsockname()[1]}"
    html = f"""{INK}<link rel=preconnect href="http://{home}"><img src="http://{home}/img">
    <form id=form method=post action="http://{home}/form"></form><script>
    fetch('http://{home}/fetch').catch(() => 0); navigator.sendBeacon('http://{home}/beacon');
    new WebSocket('ws://{home}/socket'); window.open('http://{home}/popup');
    new Worker(URL.createObjectURL(new Blob([`fetch('http://{home}/worker'); new WebSocket('ws://{home}/worker')`])));
    setTimeout(() => form.submit(), 1200)</script>"""
    renderer = ChromiumRenderer(BrowserSettings())
    try:
        render = await renderer.render(Page(html=html))
    finally:
        await renderer.stop()
    assert render.outcome == "blocked_navigation"
    for way in ("fetch", "img", "socket", "form", "beacon"):
        assert any(f"{home}/{way}" in line for line in render.blocked), (way, render.blocked)
    with pytest.raises(BlockingIOError):
        listener.accept()


async def test_pages_run_with_all_isolation_of_this_machine(renderer: ChromiumRenderer) -> None:
    await renderer.ping()
    assert renderer.supervisor.browser is not None
    render = asyncio.create_task(renderer.render(Page(html=INK + "<script>/*watched*/ while (true) {}</script>")))
    await asyncio.sleep(0.5)
    family = filter(works, psutil.Process(renderer.supervisor.browser.pid).children(recursive=True))
    pages = [process for process in family if "--type=renderer" in process.cmdline()]
    assert pages
    for process in pages:
        assert process.uids().real != 0
        assert "Seccomp:\t2" in Path(f"/proc/{process.pid}/status").read_text()
        for space in ("net", "pid", "mnt", "user", "ipc"):
            assert Path(f"/proc/{process.pid}/ns/{space}").readlink() != Path(f"/proc/self/ns/{space}").readlink()
    assert (await render).outcome == "timeout"


async def test_page_cannot_tamper_with_the_dom_snapshot(renderer: ChromiumRenderer) -> None:
    html = """<title>True</title><h1 style="color:#ff0000;border:30px solid">Truth</h1>
    <img name=body width=9 height=9><form name=title></form>
    <script>JSON.stringify = () => '{}'; Array.prototype.push = () => 0;
    window.getComputedStyle = () => ({color: 'rgb(0, 0, 0)'});
    for (const name of ['getBoundingClientRect', 'checkVisibility', 'getAttribute', 'matches'])
      Element.prototype[name] = () => null;
    Document.prototype.createTreeWalker = Document.prototype.querySelectorAll = () => [];
    window.requestAnimationFrame = () => 0; Math.round = () => 7; Map.prototype.get = () => [1, 2, 3]</script>"""
    render = await renderer.render(Page(html=html))
    assert (render.outcome, render.title) == ("ok", "True")
    assert [(block.text, block.color) for block in render.blocks] == [("Truth", (255, 0, 0))]


async def test_colours_are_those_on_the_screen(renderer: ChromiumRenderer) -> None:
    html = """<body style="background:rgb(0 0 0 / 50%)"><div style="background:rgba(255, 0, 0, 0.5)">
    <p style="color:oklch(1 0 0)">white</p></div><p style="opacity:0">ghost</p><p style="visibility:hidden">ghost</p>
    <p style="display:none">ghost</p><p style="position:absolute;left:-999px">ghost</p>"""
    render = await renderer.render(Page(html=html))
    assert [(block.text, block.color) for block in render.blocks] == [("white", (255, 255, 255))]
    assert render.background == (128, 128, 128)
    assert render.blocks[0].background == (192, 64, 64)


async def test_killed_browser_is_replaced() -> None:
    renderer = ChromiumRenderer(BrowserSettings())
    try:
        await renderer.start()
        assert renderer.supervisor.browser is not None
        busy = INK + "<script>const end = Date.now(); for (let i = 0; i < 1e8; i++) Math.sqrt(i)</script>"
        render = asyncio.create_task(renderer.render(Page(html=busy)))
        await asyncio.sleep(0.1)
        os.kill(renderer.supervisor.browser.pid, signal.SIGKILL)
        assert (await render).outcome == "ok"
        assert renderer.supervisor.browser is not None
        os.kill(renderer.supervisor.browser.pid, signal.SIGKILL)
        assert (await renderer.render(Page(html=STILL))).outcome == "ok"
        assert await renderer.ping()
    finally:
        await renderer.stop()


async def test_repeated_browser_losses_are_a_browser_fault() -> None:
    renderer = ChromiumRenderer(BrowserSettings(cpu_budget_s=60))
    try:
        await renderer.start()
        render = asyncio.create_task(renderer.render(Page(html=INK + "<script>while (true) {}</script>")))
        killed: set[int] = set()
        while not render.done():
            browser = renderer.supervisor.browser
            if browser is not None and browser.pid not in killed:
                killed.add(browser.pid)
                await asyncio.sleep(0.1)
                os.kill(browser.pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
        with pytest.raises(BrowserFault):
            await render
        assert len(killed) == 2
        assert any("lost" in line for line in renderer.news())
        assert (await renderer.render(Page(html=STILL))).outcome == "ok"
    finally:
        await renderer.stop()


async def test_page_that_stalls_two_browsers_times_out() -> None:
    """Wall time is the measure, which a busy machine may use up too; therefore two browsers must stall."""
    renderer = ChromiumRenderer(BrowserSettings(cpu_budget_s=600, wall_s=4))
    try:
        render = await renderer.render(Page(html=INK + "<script>while (true) {}</script>"))
        assert (render.outcome, "not done after 4 s" in render.detail) == ("timeout", True)
        assert (await renderer.render(Page(html=STILL))).outcome == "ok"
    finally:
        await renderer.stop()


async def test_suspended_browsers_are_a_browser_fault() -> None:
    """The test suspends both browsers directly after their canary page; the page itself never runs."""
    renderer = ChromiumRenderer(BrowserSettings(wall_s=4))

    async def stop() -> None:
        while True:
            if renderer.supervisor.pages == 2 and renderer.supervisor.browser is not None:
                with suppress(psutil.NoSuchProcess):
                    for process in psutil.Process(renderer.supervisor.browser.pid).children(recursive=True):
                        process.suspend()
            await asyncio.sleep(0.01)

    await renderer.start()
    stopping = asyncio.create_task(stop())
    try:
        with pytest.raises(BrowserFault, match=r"two browsers stalled on page .* 4 s, with 0\.\d s of CPU"):
            await renderer.render(Page(html=INK + "<script>while (true) {}</script>"))
    finally:
        stopping.cancel()
        await renderer.stop()


async def test_static_page_is_captured_once_with_the_same_result(
    renderer: ChromiumRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one screenshot equals the three screenshots of a normal render."""
    designs = [task.reference_html or "" for task in tasks(24, seed=3, split="train")]
    pages = [Page(html=html) for html in (STILL, *designs) if is_still(html)][:5]
    assert len(pages) == 5
    assert not any(map(is_still, (MOVING, INK + "<p style='transi\\74ion:1s'>", INK + "<input autofocus>", PIXEL)))
    quick = [await renderer.render(page) for page in pages]
    monkeypatch.setattr("actors.browser.visit.is_still", lambda html: False)
    for render, page in zip(quick, pages, strict=True):
        thorough = await renderer.render(page)
        assert (render.shots, render.blocks, render.boxes) == (thorough.shots, thorough.blocks, thorough.boxes)


async def test_no_process_remains_after_stop() -> None:
    renderer = ChromiumRenderer(BrowserSettings(recycle_pages=2))
    family: dict[int, str] = {}
    for html in (STILL, MOVING, INK):
        assert (await renderer.render(Page(html=html))).outcome == "ok"
        assert renderer.supervisor.browser is not None
        browser = psutil.Process(renderer.supervisor.browser.pid)
        for process in (browser, *browser.children(recursive=True)):
            # A closing browser ends its helper processes while they are being counted.
            with suppress(psutil.NoSuchProcess):
                family[process.pid] = process.name()
    assert len([name for name in family.values() if "headless" in name]) > 6
    assert [name for name in family.values() if name == "bwrap"]
    await renderer.stop()
    assert not [family[pid] for pid in family if psutil.pid_exists(pid)]


@pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda isolation: isolation.name)
async def test_browser_dies_with_its_parent_process(isolation: Isolation) -> None:
    script = f"""import asyncio, pathlib
from actors.browser.chromium.launch import ISOLATIONS, find_executable, launch
async def main():
    process = await launch(find_executable(None), memory_mb=1200, isolation=ISOLATIONS[{ISOLATIONS.index(isolation)}])
    print(process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())"""
    with tempfile.TemporaryDirectory(prefix="relook-test-") as folder:
        Path(folder).chmod(0o711)
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env=dict(os.environ, TMPDIR=folder)
        )
        assert parent.stdout is not None
        browser = psutil.Process(int(await parent.stdout.readline()))
        family = [browser, *browser.children(recursive=True)]
        assert len(family) > 2
        parent.kill()
        await parent.wait()
        for _ in range(500):
            if not any(map(works, family)):
                return
            await asyncio.sleep(0.02)
    pytest.fail("the browser outlives its parent")


async def test_stopped_renderer_stays_stopped_until_started() -> None:
    renderer = ChromiumRenderer(BrowserSettings())
    await renderer.start()
    render = asyncio.create_task(renderer.render(Page(html=INK + "<script>while (true) {}</script>")))
    await asyncio.sleep(0.2)
    await renderer.stop()
    with pytest.raises(BrowserFault, match="stopped"):
        await render
    assert renderer.supervisor.browser is None
    await renderer.start()
    assert (await renderer.render(Page(html=STILL))).outcome == "ok"
    await renderer.stop()


async def test_changed_canary_is_a_browser_fault() -> None:
    renderer = ChromiumRenderer(BrowserSettings(recycle_pages=1))
    try:
        await renderer.start()
        renderer.supervisor.canary = "other pixels"
        with pytest.raises(BrowserFault, match="other pixels than before"):
            await renderer.render(CANARY)
    finally:
        await renderer.stop()


async def test_missing_browser_gives_a_fault_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrowserFault, match=r"browser\.executable is .*nowhere.*, which is not") as wrong:
        await ChromiumRenderer(BrowserSettings(executable=tmp_path / "nowhere")).start()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("actors.browser.chromium.launch.WHOLE", ())
    with pytest.raises(BrowserFault, match="apt-get install chromium-headless-shell") as missing:
        await ChromiumRenderer(BrowserSettings()).start()
    monkeypatch.undo()
    with pytest.raises(BrowserFault, match="cannot be started") as broken:
        await ChromiumRenderer(BrowserSettings(executable=Path("/usr/bin/true"))).start()
    assert not [fault for fault in (wrong, missing, broken) if "\n" in str(fault.value)]
