"""Tests of Web-Bench: items, verdicts, scores, refused input, and the whole play in real Chromium."""

import json
import shutil
from pathlib import Path

import pytest
from benchmarks.tiny_webbench import SPEC, PaperSpecs, answer, write_clone
from doubles import PaperRenderer

from actors.playwright.runner import PlaywrightRunner
from actors.settings import BrowserSettings
from cluster.benchmark import main
from cluster.benchmarks.answers import FileWriter, FixedWriter
from cluster.benchmarks.benchmark import Services, SpecRunner, Writer
from cluster.benchmarks.records import TestResult
from cluster.benchmarks.webbench.benchmark import WebBench

CACHE = Path(__file__).parents[4] / ".cache"


async def play(
    source: Path, project: str, writer: Writer, specs: SpecRunner, *, faithful: bool = False
) -> dict[str, TestResult]:
    benchmark = WebBench(faithful)
    item = next(item for item in benchmark.load(source).items if item.id == project)
    services = Services(renderer=PaperRenderer(), specs=specs, browser="", fetch=bytes)
    results = await benchmark.play(item, writer, services)
    assert tuple(one.test for one in results) == item.tests
    return {one.test: one for one in results}


def test_an_item_is_a_project_with_two_tests_a_task(tmp_path: Path) -> None:
    items = {item.id: item for item in WebBench().load(write_clone(tmp_path)).items}
    assert items["dom"].tests[:2] == ("chain/task-1", "chain/task-2")
    assert items["dom"].tests[20:22] == ("own/init", "own/task-1")
    assert items["color"].tests[20] == "own/task-1"
    assert items["dom"].keys[:4] == ("dom/init", "dom/init/2", "dom/task-1", "dom/task-1/2")
    assert len(WebBench(faithful=True).load(tmp_path).items[0].tests) == 20


async def test_reference_passes_everything_and_an_empty_page_nothing(tmp_path: Path) -> None:
    item = next(item for item in WebBench().load(write_clone(tmp_path)).items if item.id == "dom")
    reference = await play(tmp_path, "dom", FixedWriter(item.reference or ""), PaperSpecs())
    assert {one.verdict for one in reference.values()} == {"pass"}
    empty = await play(tmp_path, "dom", FixedWriter(item.empty), PaperSpecs())
    assert {one.verdict for one in empty.values()} == {"fail"}


async def test_scores_count_tasks_in_a_row_and_by_themselves(tmp_path: Path) -> None:
    write_clone(tmp_path)
    answers = {
        "dom/init": answer(0),
        "dom/task-1": answer(1),
        "dom/task-2": answer(1, "<i>"),
        "dom/task-2/2": answer(2),
    }
    answers |= {"dom/task-3": answer(2, "<b>"), "dom/task-4": answer(4)}
    dom = await play(tmp_path, "dom", FileWriter(answers), PaperSpecs())
    assert [dom[f"chain/task-{number}"].verdict for number in (1, 2, 3, 4)] == ["pass", "pass", "fail", "fail"]
    assert dom["chain/task-3"].detail == "test/task-3.spec.js › p3 is there: #p3 is not visible"
    assert dom["chain/task-4"].detail == "the chain ended at task-3"
    assert (dom["own/task-4"].verdict, dom["own/task-5"].verdict) == ("pass", "no_answer")
    flex = await play(tmp_path, "flex", FileWriter({}), PaperSpecs())
    scores = WebBench().scores({"dom": list(dom.values()), "flex": list(flex.values())})
    assert scores == pytest.approx({"pass@1": 1 / 40, "pass@2": 2 / 40, "per_task": 3 / 40})


async def test_a_failed_init_does_not_end_the_chain(tmp_path: Path) -> None:
    answers = {"dom/init": "```js\na.js\nrun()\n```", "dom/task-1": answer(1)}
    dom = await play(write_clone(tmp_path), "dom", FileWriter(answers), PaperSpecs(), faithful=True)
    assert (dom["chain/task-1"].verdict, dom["chain/task-2"].verdict) == ("pass", "no_answer")
    assert dom["chain/task-3"].detail == "the chain ended at task-2"


async def test_a_project_with_machine_faults_counts_nowhere(tmp_path: Path) -> None:
    write_clone(tmp_path)
    dom = await play(tmp_path, "dom", FixedWriter(answer(20)), PaperSpecs())
    faulty = [TestResult(test=test, verdict="machine_fault") for test in dom]
    scores = WebBench().scores({"dom": list(dom.values()), "flex": faulty})
    assert scores == {"pass@1": 1.0, "pass@2": 1.0, "per_task": 1.0}


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        (".", "dom/task-1", "14 of 14 projects are missing"),
        ("half", "dom/task-1", "7 of 14 projects are missing (flex, float, form)"),
        ("clone", "dom/task-21", "1 of 1 ids are not of this benchmark ('dom/task-21')"),
        ("clone", "dom/task-1/3", "1 of 1 ids are not of this benchmark ('dom/task-1/3')"),
        ("clone", "dom", "1 of 1 ids are not of this benchmark ('dom')"),
    ],
)
def test_unusable_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, key: str, words: str
) -> None:
    write_clone(tmp_path / "clone")
    write_clone(tmp_path / "half", 7)
    answers = tmp_path / "a.jsonl"
    answers.write_text(json.dumps({"id": key, "answer": answer(1)}))
    assert main(["webbench", "--source", str(tmp_path / source), "--answers", str(answers)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.browser
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm")
async def test_real_specifications_run_on_the_served_files(tmp_path: Path) -> None:
    tests = write_clone(tmp_path) / "projects" / "color" / "test"
    (tests / "task-2.spec.js").write_text(
        SPEC.format(name="p2")
        + """test('place', async ({ page }) => { await expectTolerance((await getOffset(page, '#p2')).width, 300); });
        test('file', () => { expect(isExisted('lib/a.js', '/')).toBeTruthy(); });"""
    )
    (tests / "task-3.spec.js").write_text(
        """const { test, expect } = require('@playwright/test');
        test('import', async () => {
            const path = require('path').join(process.env.EVAL_PROJECT_ROOT, 'lib/a.js');
            expect((await import(path)).default).toBe(3);
        });"""
    )
    wide = "<style>#p2 { width: 290px }</style>"
    library = "```js\nlib/a.js\nmodule.exports = 3\n```"
    answers = {"color/task-1": answer(1), "color/task-2": answer(2), "color/task-2/2": answer(2, wide) + library}
    answers["color/task-3"] = "```js\nlib/a.js\nprocess.exit(0)\n```"
    answers["color/task-3/2"] = answer(3, wide) + library
    runner = PlaywrightRunner(BrowserSettings(), CACHE)
    await runner.start()
    results = await play(tmp_path, "color", FileWriter(answers), runner)
    assert [results[f"chain/task-{number}"].verdict for number in (1, 2, 3)] == ["pass", "pass", "pass"]
    assert [results[f"chain/task-{number}"].values["attempts"] for number in (1, 2, 3)] == [1.0, 2.0, 2.0]
