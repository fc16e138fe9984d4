"""Tests of InteractScience: reading, extraction, verdicts and scores, on a small benchmark in the public format."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from doubles import PaperRenderer

from actors.node.records import SpecReport, SpecResult, SpecRun
from actors.playwright.runner import PlaywrightRunner
from actors.settings import BrowserSettings
from cluster.benchmarks import records
from cluster.benchmarks.benchmark import Services, SpecRunner
from cluster.benchmarks.interactscience import TASKS, InteractScience
from rollout.errors import TaskFileError
from rollout.records import Message

HEAD = """const { test, expect } = require('@playwright/test');
const url = 'file://' + require('path').resolve(__dirname, '../pages/Clock.html');
"""
PFT = f"""{HEAD}test('outside', async ({{ page }}) => {{
  await page.goto(url); expect(await page.title()).toBe('other'); }});
test.describe("Bob's clock", () => {{
  test.beforeEach(async ({{ page }}) => {{ await page.goto(url); }});
  test('It\\'s shown', async ({{ page }}) => {{ await expect(page.locator('#clock')).toBeVisible(); }});
  test('picture', async ({{ page }}) => {{ await expect(page).toHaveScreenshot('a.png'); }});
}});
"""
VQT = f"""{HEAD}test.describe('Clock', () => {{
  test('first', async ({{ page }}) => {{ await page.goto(url); await page.screenshot({{ path: './snapshots/Clock-1.png' }}); }});
  test('second', async ({{ page }}) => {{ await page.locator('#clock').click({{ timeout: 500 }}); }});
}});
"""  # noqa: E501
NAMES = ("pft/outside", "pft/Bob's clock › It's shown", "pft/Bob's clock › picture", "vqt/first", "vqt/second")
ANSWER = "```html\n<!DOCTYPE html><html><p id=clock>1 &lt; 2</p></html>\n```\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for folder, text in (("PFT_tests", PFT), ("VQT_tests", VQT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Clock.spec.js").write_text(text)
    (tmp_path / "data").mkdir()
    row = {"id": "Clock", "lm_system_prompt": "Write a page.", "question": "A clock."}
    (tmp_path / TASKS).write_text(json.dumps(row) + "\n")
    return tmp_path


@dataclass
class OneAnswer:
    text: str | None

    async def write(self, key: str, messages: Sequence[Message]) -> records.Answer:
        return records.Answer(text=self.text)


class FirstPasses:
    """Passes the first test of each file."""

    def __init__(self) -> None:
        self.runs: list[SpecRun] = []

    async def run(self, spec: SpecRun) -> SpecReport:
        self.runs.append(spec)
        pft, vqt = spec.specs
        results = (
            SpecResult(spec=pft, describe=("Bob's clock",), title="It's shown", status="passed"),
            SpecResult(spec=pft, describe=("Bob's clock",), title="picture", status="failed", error="no baseline"),
            SpecResult(spec=pft, title="outside", status="timed_out"),
            SpecResult(spec=vqt, describe=("Clock",), title="first", status="passed"),
            SpecResult(spec=vqt, describe=("Clock",), title="second", status="skipped"),
        )
        return SpecReport(results=results, pictures={"snapshots/Clock-1.png": b"png"})


async def play(
    source: Path, specs: SpecRunner, answer: str | None = ANSWER, faithful: bool = True
) -> list[records.TestResult]:
    benchmark = InteractScience(faithful)
    (item,) = benchmark.load(source).items
    return await benchmark.play(
        item, OneAnswer(answer), Services(renderer=PaperRenderer(), specs=specs, browser="", fetch=bytes)
    )


def test_tests_that_no_page_passes_are_excluded_unless_faithful(source: Path) -> None:
    assert InteractScience(True).load(source).items[0].tests == NAMES
    assert InteractScience(False).load(source).items[0].tests == (*NAMES[:2], NAMES[3])


@pytest.mark.parametrize("missing", [TASKS, "PFT_tests/Clock.spec.js", "VQT_tests/Clock.spec.js"])
def test_half_a_benchmark_is_a_task_file_error(source: Path, missing: str) -> None:
    (source / missing).unlink()
    with pytest.raises(TaskFileError):
        InteractScience().load(source)


def test_entities_are_unescaped_only_when_faithful() -> None:
    assert "1 < 2" in str(InteractScience(True).page(ANSWER))
    assert "1 &lt; 2" in str(InteractScience(False).page(ANSWER))


async def test_verdicts_and_public_denominators(source: Path) -> None:
    specs = FirstPasses()
    results = await play(source, specs)
    assert [one.test for one in results] == list(NAMES)
    assert [one.verdict for one in results] == ["fail", "pass", "fail", "pass", "fail"]
    assert results[-1].picture == b"png"
    assert b"1 < 2" in specs.runs[0].files["pages/Clock.html"]
    scores = InteractScience(True).scores({"Clock": results})
    assert scores == {"pft_overall": 0.5, "pft_average": 0.5, "pft_perfect": 0.0, "vqt_action": 0.5}
    assert InteractScience(False).scores({"Clock": results})["pft_overall"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("answer", [None, "no page"])
async def test_an_answer_without_a_page_runs_nothing(source: Path, answer: str | None) -> None:
    specs = FirstPasses()
    results = await play(source, specs, answer)
    assert {one.verdict for one in results} == {"no_answer"}
    assert not specs.runs


@pytest.mark.browser
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm")
async def test_real_specifications_give_verdicts(source: Path) -> None:
    runner = PlaywrightRunner(BrowserSettings(), Path(__file__).parents[3] / ".cache")
    await runner.start()
    results = await play(source, runner, faithful=False)
    assert [one.verdict for one in results] == ["fail", "pass", "pass"]
    assert results[-1].picture is not None
