"""Tests of the jest runner: statuses, TypeScript, the fence, the mirror, lost browsers, on real Node and Chromium."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.jest.runner import JestRunner
from actors.mirror.folder import INDEX
from actors.node.records import SpecReport, SpecRun
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm"),
]
CACHE = Path(__file__).parents[3] / ".cache"
HEAD = """import { describe, expect, it, test, beforeAll, afterAll } from '@jest/globals';
import puppeteer from 'puppeteer';
let browser: any;
beforeAll(async () => { browser = await puppeteer.launch({ args: ['--no-sandbox'] }); }, 60000);
afterAll(async () => { await browser.close(); });
"""
OPEN = "const page = await browser.newPage(); await page.goto('file:///specs/index.html');"


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[JestRunner]:
    package = tmp_path / "mirror" / "d3@7.9.0"
    (package / "dist").mkdir(parents=True)
    (package / "dist" / "d3.min.js").write_text("window.d3 = {version: '7.9.0'};")
    (package / "package.json").write_text(json.dumps({"name": "d3", "version": "7.9.0"}))
    (tmp_path / "mirror" / INDEX).write_text(json.dumps({"packages": ["d3@7.9.0"]}))
    runner = JestRunner(BrowserSettings(mirror=tmp_path / "mirror"), CACHE)
    await runner.start()
    yield runner
    await runner.stop()


async def run(runner: JestRunner, body: str, page: str = "<p>hello</p>", head: str = HEAD) -> SpecReport:
    files = {"page.test.ts": (head + body).encode(), "index.html": page.encode()}
    return await runner.run(SpecRun(files=files, specs=("page.test.ts",), test_timeout_s=8.0))


def statuses(report: SpecReport) -> list[str]:
    return [result.status for result in report.results]


async def test_every_status_is_reported_with_describes(runner: JestRunner) -> None:
    report = await run(
        runner,
        f"""describe('outer', () => {{ describe('inner', () => {{
        test('passes', async () => {{ {OPEN} expect(await page.$eval('p', (p: Element) => p.textContent)).toBe('hello');
            await page.screenshot({{ path: 'a.png' }}); }}); }}); }});
        it('fails', async () => {{ expect(1 as number).toBe(2); }});
        it('hangs', async () => {{ await new Promise(() => {{}}); }}, 500);
        it.skip('skips', () => {{}});""",
    )
    assert statuses(report) == ["passed", "failed", "timed_out", "skipped"]
    assert report.results[0].describe == ("outer", "inner")
    assert "Expected: 2" in report.results[1].error
    assert list(report.pictures) == ["a.png"]
    assert report.cpu_seconds > 0
    assert runner.name == "jest 29.7.0"


async def test_requests_are_answered_from_the_mirror_or_refused_and_named(runner: JestRunner) -> None:
    report = await run(
        runner,
        f"test('a', async () => {{ {OPEN} expect(await page.evaluate('d3.version')).toBe('7.9.0'); }});",
        page="<script src='https://cdn.jsdelivr.net/npm/d3@7/dist/d3.min.js'></script><img src='https://evil.test/x'>",
    )
    assert statuses(report) == ["passed"], report.results[0].error
    assert report.refused == ("https://evil.test/x",)


async def test_the_fence_holds_files_and_network(runner: JestRunner) -> None:
    report = await run(
        runner,
        """test('page', async () => { const page = await browser.newPage(); await page.goto('file:///etc/passwd'); });
        test('file', () => { require('fs').readFileSync('/etc/passwd'); });
        test('network', async () => { await fetch('http://1.1.1.1'); });
        test('package', () => { require('fs').writeFileSync('/jest/x', ''); });""",
    )
    assert statuses(report) == ["failed"] * 4


async def test_a_file_that_cannot_run_has_one_failed_result(runner: JestRunner) -> None:
    report = await run(runner, "syntax error", head="")
    assert [(one.title, one.status) for one in report.results] == [("", "failed")]
    assert "Test suite failed to run" in report.results[0].error


@pytest.mark.parametrize(
    "body",
    [
        "test('a', async () => { const cdp = await browser.target().createCDPSession();"
        " await cdp.send('Browser.crash'); });",
        "test('a', async () => { await puppeteer.launch({ timeout: 1 }); });",
        "process.exit(0);",
    ],
    ids=["lost", "not started", "no report"],
)
async def test_a_lost_browser_and_a_missing_report_are_machine_faults(runner: JestRunner, body: str) -> None:
    with pytest.raises(BrowserFault):
        await run(runner, body)
