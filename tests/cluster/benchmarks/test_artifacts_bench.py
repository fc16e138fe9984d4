"""Tests of the ArtifactsBench benchmark with a real browser and a judge server."""

import json
from pathlib import Path

import pytest
from judge_server import JudgeServer

from actors.browser.renderer import ChromiumRenderer
from actors.judge_api.client import JudgeClient
from actors.settings import BrowserSettings, CriticSettings
from cluster.benchmark import main
from cluster.benchmarks.answers import FileWriter
from cluster.benchmarks.artifacts_bench import ArtifactsBench
from cluster.benchmarks.benchmark import Services
from cluster.benchmarks.records import TestResult
from rollout.errors import CriticFault, TaskFileError

CRITERIA = [
    {"id": number, "title": f"Criterion {number}?", "description": "Check.", "maxScore": 10} for number in range(2)
]
PAGE = "```html\n<!DOCTYPE html><html><body><h1>Money</h1></body></html>\n```"
THROWS = "```html\n<!DOCTYPE html><html><body><h1>Money</h1><script>missing()</script></body></html>\n```"


def file_of(path: Path, **fields: object) -> Path:
    rows = [
        {"index": 57, "question": "Draw money.", "checklist": CRITERIA, "class": "SVG", "difficulty": "easy"} | fields,
        {"index": 60, "question": "Write a Vue component.", "checklist": CRITERIA},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def says(*marks: int) -> str:
    return "say " + json.dumps({"reasons": ["."], "criteria": list(marks), "Overall Score": sum(marks)})


async def graded(path: Path, server: JudgeServer, answer: str | None, *, faithful: bool = False) -> TestResult:
    benchmark = ArtifactsBench(faithful)
    item = benchmark.load(file_of(path / "bench.json")).items[0]
    settings = CriticSettings(kind="http", base_url=server.url, model="judge-1", retries=1)
    renderer, judge = ChromiumRenderer(BrowserSettings()), JudgeClient(settings)
    services = Services(renderer=renderer, specs=None, judge=judge, browser="", fetch=bytes)  # type: ignore[arg-type]
    await renderer.start()
    try:
        (result,) = await benchmark.play(item, FileWriter({} if answer is None else {item.id: answer}), services)
    finally:
        await judge.close()
        await renderer.stop()
    return result


@pytest.mark.browser
async def test_an_answer_is_judged_three_times_from_code_and_pictures(tmp_path: Path) -> None:
    marks = iter([(5, 5), (5, 10), (10, 10)])
    async with JudgeServer(lambda number, body: says(*next(marks))) as server:
        result = await graded(tmp_path, server, PAGE)
    assert result.verdict == "pass"
    assert result.score == pytest.approx(0.75)
    judgments = [value for name, value in result.values.items() if name.startswith("judgment")]
    assert sorted(judgments) == [0.5, 0.75, 1.0]
    assert {body["seed"] for body in server.bodies} == {0, 1, 2}
    (asked,) = server.bodies[0]["messages"]
    assert sum(part["type"] == "image_url" for part in asked["content"]) >= 3
    assert "<h1>Money</h1>" in asked["content"][0]["text"]
    spread = ArtifactsBench(faithful=False).scores({"57": [result]})["spread"]
    assert spread == pytest.approx(0.2041, abs=1e-3)


@pytest.mark.browser
async def test_a_broken_page_scores_zero_and_is_judged_on_its_code_only_faithfully(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: says(6, 6)) as server:
        repaired = await graded(tmp_path, server, THROWS)
        assert server.bodies == []
        faithful = await graded(tmp_path, server, THROWS, faithful=True)
    assert (repaired.verdict, repaired.score) == ("fail", 0.0)
    assert "missing is not defined" in repaired.detail
    assert faithful.score == pytest.approx(0.6)
    assert all(part["type"] == "text" for part in server.bodies[0]["messages"][0]["content"])


@pytest.mark.browser
async def test_unreadable_judgments_are_asked_again_then_a_machine_fault(tmp_path: Path) -> None:
    async with JudgeServer(lambda number, body: "say hm" if number < 3 else says(10, 10)) as server:
        assert (await graded(tmp_path, server, PAGE)).score == 1.0
    async with JudgeServer(lambda number, body: "say hm") as server:
        with pytest.raises(CriticFault):
            await graded(tmp_path, server, PAGE)


@pytest.mark.browser
async def test_an_answer_without_a_page_is_not_judged(tmp_path: Path) -> None:
    async with JudgeServer() as server:
        assert (await graded(tmp_path, server, "I cannot.")).verdict == "no_answer"
        assert (await graded(tmp_path, server, None)).verdict == "no_answer"
    assert server.bodies == []


def test_items_know_whether_they_ask_for_a_web_page(tmp_path: Path) -> None:
    items = ArtifactsBench(faithful=False).load(file_of(tmp_path / "bench.json")).items
    assert [(item.id, item.data["web"]) for item in items] == [("57", True), ("60", False)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"question": None}, "question"), ({"checklist": []}, "checklist"), ({"checklist": [{"title": "x"}]}, "maxScore")],
)
def test_files_of_another_form_are_refused(tmp_path: Path, fields: dict[str, object], words: str) -> None:
    with pytest.raises(TaskFileError, match=words) as caught:
        ArtifactsBench(faithful=False).load(file_of(tmp_path / "bench.json", **fields))
    assert "line 1" in str(caught.value)


def test_the_command_wants_a_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["artifactsbench", "--source", str(file_of(tmp_path / "bench.json")), "--answers", "a.jsonl"]
    assert main(command) == 2
    assert "artifactsbench needs a multimodal judge: set critic.kind='http'" in capsys.readouterr().err
