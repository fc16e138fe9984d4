"""Tests of the Design2Code benchmark: its two fixed rows, the order of graded damage, and the whole command."""

import json
from pathlib import Path

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from cluster.benchmark import main
from cluster.benchmarks.answers import FileWriter
from cluster.benchmarks.benchmark import Services
from cluster.benchmarks.design2code import Design2Code
from cluster.benchmarks.records import Item, TestResult
from rollout.errors import TaskFileError

PAGE = """<!DOCTYPE html><html><head><title>Bakery</title></head><body style="margin:20px;font-family:sans-serif">
<h1 style="color:#803010">Harbour Bakery</h1><p>Bread from the oven at six every morning.</p>
<ul><li>Rye loaf</li><li>Sea salt rolls</li><li>Almond cake</li></ul><footer>Open until noon</footer></body></html>"""
THROWS = PAGE.replace("</body>", "<script>missing()</script></body>")


def folder_of(path: Path) -> Path:
    path.mkdir()
    (path / "7.html").write_text(PAGE)
    (path / "12.html").write_text(PAGE.replace("Bakery", "Garage"))
    return path


def fenced(html: str) -> str:
    return f"Here it is.\n```html\n{html}\n```"


async def graded(item: Item, answers: list[str], *, faithful: bool = False) -> list[TestResult]:
    benchmark, renderer = Design2Code(faithful), ChromiumRenderer(BrowserSettings())
    services = Services(renderer=renderer, specs=None, browser="", fetch=bytes)  # type: ignore[arg-type]
    await renderer.start()
    try:
        return [one for text in answers for one in await benchmark.play(item, FileWriter({item.id: text}), services)]
    finally:
        await renderer.stop()


@pytest.mark.browser
async def test_score_falls_with_damage_from_identity_to_an_empty_page(tmp_path: Path) -> None:
    item = Design2Code(faithful=False).load(folder_of(tmp_path / "pages")).items[0]
    assert item.reference is not None
    pages = [
        item.reference,
        fenced(PAGE.replace("#803010", "#108030")),
        fenced(PAGE.replace("<li>Almond cake</li>", "").replace("Rye", "Oat")),
        fenced("<!DOCTYPE html><html><body><h1>Harbour</h1></body></html>"),
        item.empty,
        "No page.",
    ]
    results = await graded(item, pages)
    scores = [one.score for one in results]
    assert scores[0] == 1.0
    assert results[0].values["visual"] == 1.0
    assert scores[:5] == sorted(set(scores[:5]), reverse=True)
    assert scores[4] == scores[5] == 0.0
    assert [one.verdict for one in results] == ["pass"] * 4 + ["fail", "no_answer"]
    assert results[0].picture is not None


@pytest.mark.browser
async def test_faithful_mode_keeps_what_the_public_harness_does(tmp_path: Path) -> None:
    item = Design2Code(faithful=True).load(folder_of(tmp_path / "pages")).items[0]
    word = fenced("<!DOCTYPE html><html><body><h1>Harbour Bakery</h1></body></html>")
    (faithful,), (repaired,) = await graded(item, [word], faithful=True), await graded(item, [word])
    assert faithful.values["text"] == 1.0  # the mean over the one matched block
    assert faithful.score - 0.2 > repaired.score > 0.0
    (faithful,), (repaired,) = await graded(item, [fenced(THROWS)], faithful=True), await graded(item, [fenced(THROWS)])
    assert faithful.score > 0.5
    assert (repaired.score, repaired.verdict) == (0.0, "fail")
    assert "missing is not defined" in repaired.detail


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="no task found; wanted"):
        Design2Code(faithful=False).load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nothing", "--answers", "a.jsonl"], "nothing: no such file or folder"),
        (["--source", "pages", "--answers", "a.jsonl"], "a.jsonl: no such file"),
        (["--source", "pages", "--model", "pages"], "there is no config.json"),
        (["--source", "pages", "--endpoint", "http://127.0.0.1:1/v1"], "--endpoint needs --name"),
        (["--source", "pages", "--answers", "good.jsonl", "--only", "8"], "--only '8': no such item"),
    ],
)
def test_unusable_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    folder_of(tmp_path / "pages")
    (tmp_path / "good.jsonl").write_text(json.dumps({"id": "7", "answer": "x"}))
    monkeypatch.chdir(tmp_path)
    assert main(["design2code", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.engine
@pytest.mark.browser
def test_command_measures_a_file_of_answers_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path / "pages")
    answers = tmp_path / "model.jsonl"
    answers.write_text(json.dumps({"id": "7", "answer": fenced(PAGE)}))
    command = ["design2code", "--source", str(tmp_path / "pages"), "--answers", str(answers)]
    command += ["--out", str(tmp_path / "out"), "--set", "browser.count=1", "--set", f"cache='{tmp_path / 'cache'}'"]
    assert main(command) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scores"]["policy"]["score"] == 0.5
    assert summary["scores"]["reference"]["score"] == 1.0
    assert summary["scores"]["empty page"]["score"] == 0.0
    assert summary["tests"]["policy"] == {"pass": 1, "fail": 0, "no_answer": 1, "machine_fault": 0, "retries": 0}
    assert summary["policy"] == "model"
    assert "Harbour" not in capsys.readouterr().err
    played = (tmp_path / "out" / "played.jsonl").read_bytes()
    assert main(command) == 0
    assert (tmp_path / "out" / "played.jsonl").read_bytes() == played
    assert main([*command, "--seed", "1"]) == 2
    assert "holds another benchmark (seed differ)" in capsys.readouterr().err
