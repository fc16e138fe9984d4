"""Tests of WebGen-Bench's single-file variant with a real browser and a judge server."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judge_server import JudgeServer

from actors.browser.renderer import ChromiumRenderer
from actors.judge_api.client import JudgeClient
from actors.settings import BrowserSettings, CriticSettings
from cluster.benchmark import main
from cluster.benchmarks.answers import FileWriter
from cluster.benchmarks.benchmark import Services
from cluster.benchmarks.records import TestResult
from cluster.benchmarks.webgen import WebGenSingleFile
from rollout.errors import CriticFault, SettingsError, TaskFileError

CHECKS = [
    {"task": f"Press button {number}.", "expected_result": f"It says {number}.", "task_category": {}}
    for number in range(4)
]
ROW = {"id": "000001", "instruction": "Please implement a counter.", "Category": {}, "ui_instruct": CHECKS}
PAGE = """```html
<!DOCTYPE html><html><body><h1>Counter</h1><p>0</p>
<button onclick="document.querySelector('p').textContent = 'pressed'">Add</button><button>Nothing</button>
</body></html>
```"""


def file_of(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or (ROW,)))
    return path


def says(verdict: object) -> str:
    return "say " + json.dumps({"reason": "I see.", "verdict": verdict})


def check_of(body: dict[str, object]) -> int:
    """The number of the check that a request asks about."""
    text = json.dumps(body["messages"])
    return next(number for number in range(len(CHECKS)) if f"Expected result: It says {number}." in text)


async def graded(path: Path, server: JudgeServer, answer: str | None) -> list[TestResult]:
    benchmark = WebGenSingleFile(False)
    (item,) = benchmark.load(file_of(path / "test.jsonl")).items
    settings = CriticSettings(kind="http", base_url=server.url, model="judge-1", retries=1)
    renderer, judge = ChromiumRenderer(BrowserSettings(explore=4)), JudgeClient(settings)
    services = Services(renderer=renderer, specs=None, judge=judge, browser="", fetch=bytes)  # type: ignore[arg-type]
    await renderer.start()
    try:
        return await benchmark.play(item, FileWriter({} if answer is None else {item.id: answer}), services)
    finally:
        await judge.close()
        await renderer.stop()


@pytest.mark.browser
async def test_every_check_is_a_question_about_pictures_and_log(tmp_path: Path) -> None:
    verdicts = ("yes", "partial", "no", "not_tried")
    async with JudgeServer(lambda number, body: says(verdicts[check_of(body)])) as server:
        results = await graded(tmp_path, server, PAGE)
    assert [one.test for one in results] == [f"{number + 1}. Press button {number}." for number in range(4)]
    assert [(one.verdict, one.score) for one in results] == [("pass", 1.0), ("fail", 0.5), ("fail", 0.0), ("fail", 0.0)]
    assert [one.detail for one in results][3] == "not tried: I see."
    scores = WebGenSingleFile(False).scores({"000001": results})
    assert scores == {"score": 0.375, "yes": 0.25, "partial": 0.25, "not_tried": 0.25}
    (asked,) = server.bodies[0]["messages"]
    assert sum(part["type"] == "image_url" for part in asked["content"]) == 2  # as loaded, and after the one change
    captions = [part["text"] for part in asked["content"] if part["type"] == "text"]
    assert captions[1:3] == ["The page as loaded:", 'After operating button "Add":']
    assert '- button "Add": the picture changed\n- button "Nothing": the picture did not change' in captions[-1]
    assert "Please implement a counter." in captions[0]


@pytest.mark.browser
async def test_an_unreadable_verdict_is_asked_again_then_counted_apart(tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, object]) -> str:
        check = check_of(body)
        again = "could not be used" in json.dumps(body["messages"])
        return says("YES or NO" if check == 0 or (check == 1 and not again) else "yes")

    async with JudgeServer(behave) as server:
        results = await graded(tmp_path, server, PAGE)
    assert [one.verdict for one in results] == ["machine_fault", "pass", "pass", "pass"]
    assert "the judge gave no verdict: the verdict is 'YES or NO'" in results[0].detail
    assert len(server.bodies) == 2 + 2 + 1 + 1
    assert WebGenSingleFile(False).scores({"000001": results})["score"] == 1.0


@pytest.mark.browser
async def test_pages_that_do_not_render_and_answers_without_a_page_are_not_judged(tmp_path: Path) -> None:
    async with JudgeServer() as server:
        throws = await graded(tmp_path, server, PAGE.replace("<h1>", "<script>missing()</script><h1>"))
        assert {one.verdict for one in await graded(tmp_path, server, "I cannot.")} == {"no_answer"}
        assert {one.verdict for one in await graded(tmp_path, server, None)} == {"no_answer"}
    assert server.bodies == []
    assert {(one.verdict, one.score) for one in throws} == {("fail", 0.0)}
    assert "missing is not defined" in throws[0].detail


@pytest.mark.browser
async def test_a_judge_that_refuses_is_a_machine_fault_of_the_item(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: "raw " + json.dumps({"status": 413, "body": {}})) as server:
        with pytest.raises(CriticFault):
            await graded(tmp_path, server, PAGE)


def test_json_lines_and_parquet_hold_the_same_items(tmp_path: Path) -> None:
    row = {"id": 1, "instruction": ROW["instruction"], "ui_instruct": [{**one, "task_category": ""} for one in CHECKS]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "test.parquet")
    benchmark = WebGenSingleFile(False)
    first, second = benchmark.load(file_of(tmp_path / "test.jsonl")), benchmark.load(tmp_path / "test.parquet")
    assert first.items == second.items


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{**ROW, "ui_instruct": None}], "`ui_instruct` is missing or empty"),
        ([{**ROW, "ui_instruct": [{"task": "x"}]}], "`expected_result` is missing"),
        ([{**ROW, "instruction": ""}], "`instruction` is ''"),
        ([ROW, ROW], "the id '000001' occurs twice"),
    ],
)
def test_files_of_another_form_are_one_line(tmp_path: Path, rows: list[object], words: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        WebGenSingleFile(False).load(file_of(tmp_path / "test.jsonl", *rows))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_wants_a_judge_a_file_and_no_faithful(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, answers = (
        str(file_of(tmp_path / "test.jsonl")),
        str(file_of(tmp_path / "a.jsonl", {"id": "000001", "answer": "x"})),
    )
    judge = ["--set", "critic.kind='http'", "--set", "critic.base_url='http://127.0.0.1:1/v1'"]
    judge += ["--set", "critic.model='judge'"]
    for path, further, words in (
        (source, [], "webgen-single-file needs a multimodal judge"),
        (source, ["--faithful"], "leave out --faithful"),
        (str(tmp_path), judge, "no such file; wanted test.jsonl of WebGen-Bench"),
        (source, [*judge, "--only", "000002"], "--only '000002': no such item"),
    ):
        assert main(["webgen-single-file", "--source", path, "--answers", answers, *further]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    with pytest.raises(SettingsError):
        WebGenSingleFile(True)
