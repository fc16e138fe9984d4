"""Tests of the Playwright runner: statuses, the fence, the mirror, and fresh folders, on real Node and Chromium."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.mirror.folder import INDEX
from actors.node.records import SpecReport, SpecRun
from actors.playwright.runner import PlaywrightRunner
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm"),
]
CACHE = Path(__file__).parents[3] / ".cache"
HEAD = "const { test, expect } = require('@playwright/test');\n"
OPEN = "await page.goto('file:///specs/page.html');"


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[PlaywrightRunner]:
    package = tmp_path / "mirror" / "d3@7.9.0"
    (package / "dist").mkdir(parents=True)
    (package / "dist" / "d3.min.js").write_text("window.d3 = {version: '7.9.0'};")
    (package / "package.json").write_text(json.dumps({"name": "d3", "version": "7.9.0"}))
    (tmp_path / "mirror" / INDEX).write_text(json.dumps({"packages": ["d3@7.9.0"]}))
    runner = PlaywrightRunner(BrowserSettings(mirror=tmp_path / "mirror"), CACHE)
    await runner.start()
    yield runner
    await runner.stop()


async def run(runner: PlaywrightRunner, body: str, page: str = "<p>hello</p>", served: str = "") -> SpecReport:
    spec = SpecRun(
        files={"t/a.spec.js": (HEAD + body).encode(), "page.html": page.encode(), "site/index.html": b"<p>served</p>"},
        specs=("t/a.spec.js",),
        test_timeout_s=4.0,
        expect_timeout_s=0.5,
        served=served,
    )
    return await runner.run(spec)


def statuses(report: SpecReport) -> list[str]:
    return [result.status for result in report.results]


async def test_every_status_is_reported_in_order_with_describes_and_pictures(runner: PlaywrightRunner) -> None:
    report = await run(
        runner,
        f"""test.describe('outer', () => {{ test.describe('inner', () => {{
        test('passes', async ({{ page }}) => {{ {OPEN} await page.screenshot({{ path: './out/a.png' }}); }});
        }}); }});
        test('fails', async ({{ page }}) => {{ {OPEN} await expect(page.locator('p')).toHaveText('other'); }});
        test('hangs', async () => {{ test.setTimeout(500); await new Promise(() => {{}}); }});
        test.skip('skips', async () => {{}});""",
    )
    assert statuses(report) == ["passed", "failed", "timed_out", "skipped"]
    assert report.results[0].describe == ("outer", "inner")
    assert "other" in report.results[1].error
    assert [name for name in report.pictures if name.startswith("out/")] == ["out/a.png"]
    assert report.cpu_seconds > 0
    assert runner.name == "Playwright 1.56.1"


async def test_requests_are_answered_from_the_mirror_or_refused_and_named(runner: PlaywrightRunner) -> None:
    report = await run(
        runner,
        f"""test('library', async ({{ page, browser }}) => {{
            {OPEN} expect(await page.evaluate(() => d3.version)).toBe('7.9.0');
            const own = await (await browser.newContext()).newPage();
            await own.goto('file:///specs/page.html'); expect(await own.evaluate(() => d3.version)).toBe('7.9.0');
        }});""",
        page="<script src='https://cdn.jsdelivr.net/npm/d3@7/dist/d3.min.js'></script><img src='https://evil.test/x'>",
    )
    assert statuses(report) == ["passed"]
    assert report.refused == ("https://evil.test/x",)


async def test_a_served_folder_is_the_base_url(runner: PlaywrightRunner) -> None:
    body = """test('a', async ({ page }) => {
        await page.goto('/'); await expect(page.locator('p')).toHaveText('served');
        await page.goto('/index'); await expect(page.locator('p')).toHaveText('served');
    });"""
    assert statuses(await run(runner, body, served="site")) == ["passed"]


async def test_the_fence_holds_files_network_and_environment(
    runner: PlaywrightRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "abc")
    report = await run(
        runner,
        """test('page reads a file', async ({ page }) => { await page.goto('file:///etc/passwd'); });
        test('spec reads a file', async () => { require('fs').readFileSync('/etc/passwd'); });
        test('spec uses the network', async () => { await fetch('http://1.1.1.1'); });
        test('spec writes', async () => { require('fs').writeFileSync('/playwright/x', ''); });
        test('environment', async () => { expect(process.env.SECRET).toBe('abc'); });""",
    )
    assert statuses(report) == ["failed"] * 5


async def test_a_page_that_loops_or_kills_its_browser_fails_only_its_tests(runner: PlaywrightRunner) -> None:
    report = await run(
        runner,
        f"""test('loops', async ({{ page }}) => {{ {OPEN} }});
        test('kills', async ({{ page }}) => {{ await page.goto('chrome://crash'); }});
        test('fine', async () => {{}});""",
        page="<script>for (;;) {}</script>",
    )
    assert statuses(report)[0] == "timed_out"
    assert statuses(report)[1] in ("failed", "timed_out")
    assert statuses(report)[2] == "passed"


async def test_runs_see_nothing_of_each_other(runner: PlaywrightRunner) -> None:
    body = """test('a', async () => { const fs = require('fs');
        for (const path of ['/specs/left', '/tmp/left']) {
            expect(fs.existsSync(path)).toBe(false); fs.writeFileSync(path, ''); }
    });"""
    first, second = await asyncio.gather(run(runner, body), run(runner, body))
    assert statuses(first) == statuses(second) == ["passed"]


async def test_links_of_a_specification_are_not_read(runner: PlaywrightRunner, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    report = await run(runner, f"test('a', async () => {{ require('fs').symlinkSync('{secret}', '/specs/a.png'); }});")
    assert statuses(report) == ["passed"]
    assert not report.pictures


@pytest.mark.parametrize("body", ["syntax error", "process.exit(0);", "for (;;) {}"])
async def test_specifications_that_cannot_run_fail_if_they_import_tested_files(
    runner: PlaywrightRunner, body: str
) -> None:
    files = {"a.spec.js": body.encode(), "b.spec.js": f"{HEAD}test('b', () => {{}});".encode()}
    report = await runner.run(
        SpecRun(files=files, specs=("a.spec.js", "b.spec.js"), run_timeout_s=20.0, faults_fail=True)
    )
    found = {result.spec: result for result in report.results}
    assert found["a.spec.js"].status == "failed"
    assert found["a.spec.js"].error


async def test_a_run_ends_after_its_failures_and_an_action_after_its_time(runner: PlaywrightRunner) -> None:
    body = f"""test('waits', async ({{ page }}) => {{ {OPEN} await page.click('#missing'); }});
        test('fails', async () => {{ expect(1).toBe(2); }});"""
    files = {"a.spec.js": (HEAD + body).encode(), "page.html": b"<p>1</p>"}
    spec = SpecRun(files=files, specs=("a.spec.js",), action_timeout_s=0.5, max_failures=1)
    report = await runner.run(spec)
    assert statuses(report) == ["failed", "skipped"]
    assert "Timeout 500ms exceeded" in report.results[0].error


@pytest.mark.parametrize("body", ["syntax error", "process.kill(process.ppid, 'SIGKILL'); for (;;) {}"])
async def test_specifications_that_cannot_run_are_a_browser_fault(runner: PlaywrightRunner, body: str) -> None:
    with pytest.raises(BrowserFault):
        await run(runner, body)


async def test_a_run_that_exceeds_its_time_is_a_browser_fault(runner: PlaywrightRunner) -> None:
    spec = SpecRun(files={"a.spec.js": b"for (;;) {}"}, specs=("a.spec.js",), run_timeout_s=2.0)
    with pytest.raises(BrowserFault, match="within 2 s"):
        await runner.run(spec)
    assert statuses(await run(runner, "test('a', async () => {});")) == ["passed"]


def chromium_of(pid: int) -> list[int]:
    """Process ids of the browsers and their children below process `pid`, parents first."""
    parents = dict[int, int]()
    names = dict[int, str]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = path.read_text().partition("(")[2].rpartition(") ")
            parents[int(path.parent.name)], names[int(path.parent.name)] = int(fields.split()[1]), name
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(one for one in found if "chrom" in names.get(one, "") or "headless" in names.get(one, ""))


async def test_a_lost_browser_is_a_machine_fault_and_no_verdict(runner: PlaywrightRunner) -> None:
    body = f"test('waits', async ({{ page }}) => {{ {OPEN} await page.waitForTimeout(60000); }});"
    spec = SpecRun(files={"a.spec.js": (HEAD + body).encode(), "page.html": b"<p>hello</p>"}, specs=("a.spec.js",))
    work = asyncio.create_task(runner.run(spec))
    while len(chromium := chromium_of(os.getpid())) < 4:  # a page's process is among them
        assert not work.done()
        await asyncio.sleep(0.1)
    for pid in chromium:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(BrowserFault, match="Chromium (ended during the tests|did not start)"):
        await work
    assert statuses(await run(runner, "test('a', async () => {});")) == ["passed"]


async def test_the_files_of_a_run_are_bounded(runner: PlaywrightRunner) -> None:
    report = await run(
        runner,
        """for (const folder of ['/specs', '/report', '/tmp', '/dev/shm']) test(folder, async () => {
            test.setTimeout(60000);
            const fs = require('fs'), part = Buffer.alloc(32 << 20);
            let error = '';
            for (let number = 0; number < 100 && !error; number++) {
                try { fs.writeFileSync(`${folder}/${number}.bin`, part); } catch (thrown) { error = thrown.code; }
            }
            for (const file of fs.readdirSync(folder)) if (file.endsWith('.bin')) fs.unlinkSync(`${folder}/${file}`);
            expect(error).toBe('ENOSPC');
        });
        test('one file', async () => {
            let error = '';
            process.on('SIGXFSZ', () => {});
            try { require('fs').writeFileSync('/specs/a', Buffer.alloc(65 << 20)); }
            catch (thrown) { error = thrown.code; }
            expect(error).toBe('EFBIG');
        });""",
    )
    assert statuses(report) == ["passed"] * 5, [one.error for one in report.results]


async def test_the_pictures_of_a_run_are_bounded_and_its_verdicts_kept(runner: PlaywrightRunner) -> None:
    report = await run(
        runner,
        """test('a', async () => { for (let number = 0; number < 7; number++) {
            require('fs').writeFileSync(`/specs/${number}.png`, Buffer.alloc(12 << 20)); } });""",
    )
    assert statuses(report) == ["passed"]
    assert sorted(report.pictures) == [f"{number}.png" for number in range(5)]


async def test_the_output_of_a_run_is_bounded(runner: PlaywrightRunner) -> None:
    body = "test('a', async () => { const s = 'x'.repeat(1 << 20); for (let i = 0; i < 40; i++) console.log(s); });"
    report = await run(runner, body)
    assert statuses(report) == ["passed"]


async def test_a_stopped_runner_leaves_no_folder(runner: PlaywrightRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    # The user of the fence cannot enter pytest's own folders.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        work = asyncio.create_task(run(runner, "for (;;) {}"))
        while not (work.done() or list(folder.glob("relook-specs-*/log"))):
            await asyncio.sleep(0.05)
        await runner.stop()
        assert list(folder.iterdir()) == []
    with pytest.raises(BrowserFault, match="of specifications"):
        await work
