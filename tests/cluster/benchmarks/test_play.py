"""Tests of a benchmark's play: subjects, retries, machine faults, the folder of results, the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.benchmarks.answers import FileWriter
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.play import EMPTY, POLICY, REFERENCE, counts, play, units
from cluster.benchmarks.records import Dataset, Item, Sampling, TestResult
from cluster.benchmarks.report import write_report
from cluster.benchmarks.results import ResultFolder
from rollout.errors import BrowserFault, CheckpointError
from rollout.records import Message

ITEMS = tuple(
    Item(id=name, messages=(Message(role="user", content=name),), tests=("length", "letter"), reference=reference)
    for name, reference in (("one", "aaaa"), ("two/../x", None))
)
MANIFEST = {"benchmark": "letters", "seed": 0}
SERVICES: Services = None  # type: ignore[assignment]


class Letters:
    """A benchmark of words: an answer passes with four letters, and with an a. Some plays meet machine faults."""

    name = "letters"
    files = "nothing"
    repairs: tuple[str, ...] = ("none",)
    sampling = Sampling(temperature=0.0, max_tokens=4)
    runner: Runner | None = None
    needs_judge = False
    explore = 0
    judge_prompt = ""

    def __init__(self, faults: int = 0) -> None:
        self.faults = faults
        self.played = list[str]()

    def load(self, source: Path) -> Dataset:
        return Dataset(items=ITEMS, sha256="0")

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        self.played.append(item.id)
        text = (await writer.write(item.id, item.messages)).text
        if self.faults > 0:
            self.faults -= 1
            raise BrowserFault("the browser was lost")
        if text is None:
            return [TestResult(test=test, verdict="no_answer") for test in item.tests]
        passed = {"length": len(text) == 4, "letter": "a" in text}
        return [TestResult(test=test, verdict="pass" if held else "fail", score=held) for test, held in passed.items()]

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        tested = [one for tests in results.values() for one in tests if one.verdict != "machine_fault"]
        return {"passed": sum(one.score for one in tested) / max(1, len(tested))}


async def played(folder: ResultFolder, benchmark: Letters, answers: dict[str, str]) -> None:
    todo = units(ITEMS, FileWriter(answers))
    await play(benchmark, todo, SERVICES, folder, at_once=1, progress=lambda done, total, line: None)


async def test_every_table_has_the_reference_and_an_empty_page(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", MANIFEST)
    await played(folder, Letters(), {"one": "bbbb"})
    verdicts = {
        name: [[one.verdict for one in tests] for tests in items.values()] for name, items in folder.results.items()
    }
    assert verdicts == {
        POLICY: [["pass", "fail"], ["no_answer", "no_answer"]],
        REFERENCE: [["pass", "pass"]],
        EMPTY: [["fail", "pass"], ["fail", "pass"]],
    }
    assert counts(folder.results[POLICY]) == {"pass": 1, "fail": 1, "no_answer": 2, "machine_fault": 0, "retries": 0}


async def test_a_machine_fault_is_retried_and_no_verdict_of_the_answer(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", MANIFEST)
    await played(folder, Letters(faults=2), {"one": "aaaa", "two/../x": "a"})
    assert [one.retries for one in folder.results[POLICY]["one"]] == [2, 2]
    folder = ResultFolder(tmp_path / "lost", MANIFEST)
    await played(folder, Letters(faults=3), {"one": "aaaa", "two/../x": "a"})
    assert [one.verdict for one in folder.results[POLICY]["one"]] == ["machine_fault", "machine_fault"]
    assert Letters().scores(folder.results[POLICY]) == {"passed": 0.5}  # of the other item alone


async def test_a_repeated_benchmark_plays_what_was_faulty_or_never_played(tmp_path: Path) -> None:
    await played(ResultFolder(tmp_path / "out", MANIFEST), Letters(faults=3), {"one": "aaaa", "two/../x": "a"})
    path = tmp_path / "out" / "played.jsonl"
    path.write_bytes(path.read_bytes()[:-9])  # killed while the last line was written
    again = Letters()
    folder = ResultFolder(tmp_path / "out", MANIFEST)
    await played(folder, again, {"one": "aaaa", "two/../x": "a"})
    assert again.played == ["one", "two/../x"]  # the faulty item of the policy, and the last of the empty page
    assert [one.verdict for one in folder.results[POLICY]["one"]] == ["pass", "pass"]


async def test_a_folder_keeps_one_benchmark(tmp_path: Path) -> None:
    ResultFolder(tmp_path / "out", MANIFEST)
    with pytest.raises(CheckpointError, match=r"holds another benchmark \(seed differ\); give a new folder with --out"):
        ResultFolder(tmp_path / "out", {**MANIFEST, "seed": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"is not empty and holds no benchmark\.json"):
        ResultFolder(tmp_path / "mine", MANIFEST)


async def test_table_and_report_hold_every_test(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", MANIFEST)
    await played(folder, Letters(), {"one": "bbbb"})
    folder.write_table()
    table = pq.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert len(table) == 2 * (2 + 1 + 2)
    assert {row["verdict"] for row in table} == {"pass", "fail", "no_answer"}
    summary = {
        "benchmark": "letters",
        "policy": "<script>alert(1)</script>",
        "faithful": False,
        "repairs": ["none"],
        "scores": {name: Letters().scores(items) for name, items in folder.results.items()},
        "tests": {name: counts(items) for name, items in folder.results.items()},
    }
    page = write_report(folder, summary, [item.id for item in ITEMS]).read_text()
    assert "<script>alert(1)" not in page
    assert "1 of 4 tests pass, 2 without an answer" in page
    assert page.index(">one<") < page.index(">two/../x<")


def test_pictures_stay_in_the_folder(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", MANIFEST)
    assert folder.picture(POLICY, "two/../x").parent == tmp_path / "out" / "pictures" / POLICY
