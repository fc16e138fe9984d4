"""Tests of FullStack-Bench-Html: reading, the tests that count, the defects of the public harness and their repairs."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubles import PaperRenderer

from actors.jest.runner import JestRunner
from actors.node.records import SpecReport, SpecResult, SpecRun, Status
from actors.settings import BrowserSettings
from cluster.benchmark import main
from cluster.benchmarks.answers import FixedWriter
from cluster.benchmarks.benchmark import Services, SpecRunner
from cluster.benchmarks.fullstack_rows import SPEC
from cluster.benchmarks.fullstackbench import ACCEPTED, FullStackBench
from cluster.benchmarks.records import TestResult
from rollout.errors import TaskFileError

needs_node = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm")
CODE = """import { describe, expect, test, beforeAll, afterAll } from '@jest/globals';
import puppeteer from 'puppeteer';
describe('A list', () => {
  let browser, page;
  beforeAll(async () => {
    browser = await puppeteer.launch({ args: ['--no-sandbox'] });
    page = await browser.newPage();
    await page.setContent(`#<INSERT>`);
  });
  afterAll(async () => { await browser.close(); });
  test('is a block', async () => {
    expect(await page.$eval('.one', (one) => getComputedStyle(one).display)).toBe('block');
  });
  test('has no inline item', async () => {
    (await page.$$eval('li', (all) => all.map((one) => one.style.display))).forEach((one) => expect(one).toBe(''));
  });
  test('has three items', async () => { expect((await page.$$('li')).length).toBe(3); });
});
"""
NAMES = ("A list › is a block", "A list › has no inline item", "A list › has three items")
SOLUTION = "<!DOCTYPE html><html><body><ul class=one><li>1</li><li>2</li></ul></body></html>"
BACKTICK = SOLUTION.replace("<li>1", "<li>`${1}\\")
LABELS = {"programming_language": "html", "execution_language": "jest"}
ROW = {"id": 7, "content": "Write a list.", "canonical_solution": SOLUTION, "labels": LABELS, "test": {"code": CODE}}


def file_of(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def fence(page: str) -> str:
    return f"```html\n{page}\n```"


async def played(
    source: Path, specs: SpecRunner, answer: str | None, *, faithful: bool = False
) -> dict[str, TestResult]:
    benchmark = FullStackBench(faithful)
    item = benchmark.load(source).items[0]
    services = Services(renderer=PaperRenderer(), specs=specs, browser="", fetch=bytes)
    results = await benchmark.play(item, FixedWriter(answer), services)  # type: ignore[arg-type]
    return {one.test: one for one in results}


class Judges:
    """Gives every test of the row the status that `judge` gives to the page."""

    def __init__(self, judge: Callable[[str], tuple[Status, ...]]) -> None:
        self.judge = judge
        self.runs: list[SpecRun] = []

    async def run(self, spec: SpecRun) -> SpecReport:
        self.runs.append(spec)
        judged = zip(NAMES, self.judge(spec.files[SPEC].decode()), strict=False)
        titles = [(name.partition(" › ")[2], status) for name, status in judged]
        results = [SpecResult(spec=SPEC, describe=("A list",), title=title, status=status) for title, status in titles]
        broken = SpecResult(spec=SPEC, title="", status="failed", error="SyntaxError")
        return SpecReport(results=tuple(results) or (broken,))


def first_passes(file: str) -> tuple[Status, ...]:
    """The first test passes with a list, the second one always, the third one never."""
    return ("passed" if "class=one" in file else "failed", "passed", "failed")


async def test_only_tests_that_the_fixed_pages_confirm_count(tmp_path: Path) -> None:
    source = file_of(tmp_path / "rows.jsonl", ROW)
    specs = Judges(first_passes)
    results = await played(source, specs, fence("<ul class=one></ul>"))
    assert [results[name].values["counted"] for name in NAMES] == [1.0, 0.0, 0.0]
    assert "the empty page passes it" in results[NAMES[1]].detail
    assert "the row's own solution fails it" in results[NAMES[2]].detail
    assert results[ACCEPTED].verdict == "pass"
    assert len(specs.runs) == 3  # the empty page, the solution, the answer
    public = await played(source, specs, fence("<ul class=one></ul>"), faithful=True)
    assert public[ACCEPTED].verdict == "fail"
    scores = FullStackBench(False).scores({"7": list(results.values())})
    assert scores == {"accepted": 1.0, "tests": 1.0, "cut": 0.0, "rows_counted": 1.0}
    scores = FullStackBench(True).scores({"7": list(public.values())})
    assert (scores["accepted"], scores["tests"]) == (0.0, pytest.approx(2 / 3))


async def test_a_row_without_a_test_that_counts_is_in_no_score(tmp_path: Path) -> None:
    results = await played(file_of(tmp_path / "rows.jsonl", ROW), Judges(lambda file: ("passed",)), fence("<p>x</p>"))
    assert FullStackBench(False).scores({"7": list(results.values())}) == {
        "accepted": 0.0,
        "tests": 0.0,
        "cut": 0.0,
        "rows_counted": 0.0,
    }
    assert "no test of the row counts" in results[ACCEPTED].detail


async def test_an_answer_without_a_page_fails_the_tests_that_count(tmp_path: Path) -> None:
    results = await played(file_of(tmp_path / "rows.jsonl", ROW), Judges(first_passes), "I cannot.")
    assert {name: one.verdict for name, one in results.items()} == {ACCEPTED: "no_answer", NAMES[0]: "no_answer"}


async def test_a_run_with_a_timeout_is_repeated_once_unless_faithful(tmp_path: Path) -> None:
    source = file_of(tmp_path / "rows.jsonl", {**ROW, "canonical_solution": None})
    specs = Judges(lambda file: ("timed_out",) if "slow" in file else ("failed",))
    await played(source, specs, fence("<p>slow</p>"))
    assert len(specs.runs) == 3  # the empty page, and the answer twice
    await played(source, specs, fence("<p>slow</p>"), faithful=True)
    assert len(specs.runs) == 4


async def test_a_page_without_a_marker_and_its_assets_are_files(tmp_path: Path) -> None:
    test = {"code": "test('a', () => {});", "asset": {"data/a.txt": base64.b64encode(b"A").decode(), "b.txt": None}}
    specs = Judges(lambda file: ("passed",))
    await played(file_of(tmp_path / "rows.jsonl", {**ROW, "test": test}), specs, fence("<p>x</p>"), faithful=True)
    assert specs.runs[0].files["index.html"].strip() == b"<p>x</p>"
    assert specs.runs[0].files["data/a.txt"] == b"A"


@pytest.mark.browser
@needs_node
async def test_real_tests_show_the_defects_and_their_repairs(tmp_path: Path) -> None:
    source = file_of(tmp_path / "rows.jsonl", ROW)
    runner = JestRunner(BrowserSettings(), Path(__file__).parents[3] / ".cache")
    await runner.start()
    try:
        public = await played(source, runner, fence(BACKTICK), faithful=True)
        repaired = await played(source, runner, fence(BACKTICK))
    finally:
        await runner.stop()
    assert [(name, one.verdict) for name, one in public.items()] == [(ACCEPTED, "fail")]
    assert "Test suite failed to run" in public[ACCEPTED].detail
    assert [repaired[name].verdict for name in (ACCEPTED, *NAMES)] == ["pass", "pass", "pass", "fail"]
    assert [repaired[name].values["counted"] for name in NAMES] == [1.0, 0.0, 0.0]


def test_other_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    other = {**ROW, "id": 8, "labels": {"programming_language": "python", "execution_language": "python"}}
    array = tmp_path / "rows.json"
    array.write_text(json.dumps([other, ROW]))
    nested = {**ROW, "labels": json.dumps(LABELS), "test": json.dumps({"code": CODE})}
    pq.write_table(
        pa.Table.from_pylist([nested, {**nested, "id": 8, "labels": json.dumps({})}]), tmp_path / "r.parquet"
    )
    for path in (array, tmp_path / "r.parquet", file_of(tmp_path / "rows.jsonl", ROW, other)):
        dataset = FullStackBench(False).load(path)
        assert [item.id for item in dataset.items] == ["7"]
        assert dataset.left_out == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{**ROW, "labels": None}], "`labels` is missing"),
        ([{**ROW, "test": {}}], "`code` is missing"),
        ([{**ROW, "test": {"code": CODE, "asset": {"../a": ""}}}], "is no relative path"),
        ([{**ROW, "test": {"code": CODE, "asset": {"a": "?"}}}], "is not base64"),
        ([{**ROW, "canonical_solution": 7}], "`canonical_solution` is 7"),
        ([ROW, ROW], "'7' occurs twice"),
        ([{**ROW, "labels": {}}], "none of 1 rows has the labels html and jest"),
    ],
)
def test_files_of_another_form_are_one_line(tmp_path: Path, rows: list[object], words: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        FullStackBench(False).load(file_of(tmp_path / "rows.jsonl", *rows))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_refuses_a_folder_half_a_file_and_unknown_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = file_of(tmp_path / "rows.jsonl", ROW)
    answers = file_of(tmp_path / "answers.jsonl", {"id": "7", "answer": "x"})
    half = tmp_path / "half.jsonl"
    half.write_text(source.read_text()[:-40])
    for path, further, words in (
        (tmp_path, [], "no such file; wanted the file of FullStackBench"),
        (half, [], "not JSON"),
        (source, ["--only", "99"], "--only '99': no such item; the first one is '7'"),
    ):
        assert main(["fullstackbench", "--source", str(path), "--answers", str(answers), *further]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
