"""FullStack-Bench-Html (arXiv 2412.00535): the rows of FullStackBench that ask for a page, tested by jest.

A row is accepted if all its tests pass. Two fixed pages decide which tests count: the row's own solution must pass
them, an empty page must not.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from actors.node.records import SpecReport, SpecResult, SpecRun
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.fullstack_rows import SPEC, read_rows
from cluster.benchmarks.records import Answer, Dataset, Item, Sampling, TestResult, Verdict
from reward.benchmarks.fullstack import MARKER, page_of, with_page

ACCEPTED = "accepted"
SEPARATOR = " › "
FILE = "(the test file)"
"""Name of the failed result of a test file that does not run."""
COUNTED = "counted"
"""Measurement of a test: 1 if it counts in the scores, 0 if the fixed pages show that it measures nothing."""
Ran = dict[str, SpecResult]
"""Results of a run by the tests' names."""


class FullStackBench:
    """See `cluster.benchmarks.benchmark.Benchmark`. The first test of an item is `accepted`; jest's tests follow."""

    name = "fullstackbench"
    files = "the file of FullStackBench: JSON lines, a JSON array, or Parquet"
    repairs: tuple[str, ...] = (
        "the page is put into its test as a quoted string; the public harness pastes it, so a backtick, a backslash or "
        "`${` breaks the test",
        "tests that an empty page passes, or that the row's own solution fails, do not count; in the public harness "
        "they do",
        "a browser that is lost is a machine fault, and a run with a test that timed out is repeated once with 15 s a "
        "test; the public harness counts both as wrong",
        "answers have up to 8,192 tokens instead of 2,048, and one that is cut within its page has no page; the public "
        "harness tests the rest",
    )
    runner: Runner | None = "jest"
    needs_judge = False
    explore = 0
    judge_prompt = ""

    def __init__(self, faithful: bool) -> None:
        self.faithful = faithful
        self.sampling = Sampling(temperature=0.0, max_tokens=2048 if faithful else 8192)
        self._fixed: dict[tuple[str, str], Ran] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def load(self, source: Path) -> Dataset:
        """See `Benchmark`. Rows of other languages are left out and counted."""
        items, left_out = read_rows(source, self.files)
        return Dataset(items=items, sha256=hashlib.sha256(source.read_bytes()).hexdigest(), left_out=left_out)

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """See `Benchmark`. The fixed pages of an item are tested once."""
        answer = await writer.write(item.id, item.messages)
        page = None if answer.text is None else page_of(answer.text, faithful=self.faithful)
        reasons = {} if self.faithful else await self._uncounted(item, services)
        if page is None:
            return _unanswered(answer, reasons)
        ran = await self._ran(item, page, services)
        names = [*(name for name in reasons if name not in ran), *ran] if FILE in ran else list(ran)
        results = [_result(name, ran.get(name) or ran[FILE], reasons.get(name, "")) for name in names if name != FILE]
        return [_accepted(answer, ran, results), *results]

    async def _uncounted(self, item: Item, services: Services) -> dict[str, str]:
        """The reason that each test of an item does not count; empty for a test that counts."""
        pages = {"the empty page passes it": item.empty, "the row's own solution fails it": item.reference}
        rans: dict[str, Ran] = {}
        for reason, text in pages.items():
            page = page_of(text, faithful=False) if text is not None else None
            if page is not None:
                rans[reason] = await self._ran(item, page, services)
        empty, solved = rans["the empty page passes it"], rans.get("the row's own solution fails it")
        reasons: dict[str, str] = {}
        for name in solved or empty:
            fails = solved is not None and solved[name].status != "passed"
            passes = name in empty and empty[name].status == "passed"
            reasons[name] = "the row's own solution fails it" if fails else "the empty page passes it" if passes else ""
        return reasons

    async def _ran(self, item: Item, page: str, services: Services) -> Ran:
        """The results of a page's tests; those of the fixed pages are kept."""
        kept = {page_of(text, faithful=self.faithful) for text in (item.empty, item.reference) if text is not None}
        if page not in kept:
            return await self._run(item, page, services)
        async with self._turns.setdefault(item.id, asyncio.Lock()):
            key = (item.id, page)
            if key not in self._fixed:
                self._fixed[key] = await self._run(item, page, services)
            return self._fixed[key]

    async def _run(self, item: Item, page: str, services: Services) -> Ran:
        code: str = item.data["code"]
        files = {**item.data["assets"], SPEC: with_page(code, page, faithful=self.faithful).encode("utf-8", "replace")}
        if MARKER not in code:
            files["index.html"] = page.encode("utf-8", "replace")
        spec = SpecRun(files=files, specs=(SPEC,), test_timeout_s=5.0 if self.faithful else 15.0)
        report = await services.specs.run(spec)
        if not self.faithful and any(one.status == "timed_out" for one in report.results):
            report = await services.specs.run(spec)
        return _named(report)

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """See `Benchmark`: the share of accepted rows, of passed tests, of cut answers, and of rows that count."""
        tested = [one for tests in results.values() for one in tests if one.verdict != "machine_fault"]
        rows = [one for one in tested if one.test == ACCEPTED]
        tests = [one for one in tested if one.test != ACCEPTED and one.values.get(COUNTED, 1.0)]
        return {
            "accepted": _share([one.score for one in rows if one.values.get(COUNTED, 1.0)]),
            "tests": _share([one.score for one in tests]),
            "cut": _share([one.values.get("cut", 0.0) for one in rows]),
            "rows_counted": _share([one.values.get(COUNTED, 1.0) for one in rows]),
        }


def _named(report: SpecReport) -> Ran:
    """Results by unique names: `describe › title`, with a number if it repeats."""
    ran: Ran = {}
    for one in report.results:
        plain = name = SEPARATOR.join((*one.describe, one.title)) or FILE
        number = 1
        while name in ran or name == ACCEPTED:
            number += 1
            name = f"{plain} ({number})"
        ran[name] = one
    return ran


def _accepted(answer: Answer, ran: Ran, results: Sequence[TestResult]) -> TestResult:
    """The result of the row: all tests that count pass, and the test file runs."""
    counted = [one for one in results if one.values[COUNTED]]
    failed = next((one for one in counted if one.verdict == "fail"), None)
    broken = ran[FILE].error if FILE in ran else ""
    accepted = failed is None and not broken
    detail = broken or (f"{failed.test}: {failed.detail}" if failed is not None else "")
    return TestResult(
        test=ACCEPTED,
        verdict="pass" if accepted else "fail",
        score=float(accepted),
        detail=detail if counted or broken else "no test of the row counts",
        values={COUNTED: float(bool(counted)), "cut": float(answer.cut)},
        seconds=sum(one.seconds for one in results),
    )


def _result(name: str, one: SpecResult, reason: str) -> TestResult:
    passed = one.status == "passed"
    said = "" if passed else f"{one.status}: {one.error}".removesuffix(": ")
    detail = " — ".join(filter(None, (f"does not count: {reason}" if reason else "", said)))
    verdict: Verdict = "pass" if passed else "fail"
    counts = {COUNTED: float(not reason and one.status != "skipped")}
    return TestResult(
        test=name, verdict=verdict, score=float(passed), detail=detail, values=counts, seconds=one.seconds
    )


def _unanswered(answer: Answer, reasons: Mapping[str, str]) -> list[TestResult]:
    detail = answer.detail or f"the answer has no page{', it was cut' if answer.cut else ''}"
    counted = [name for name, reason in reasons.items() if not reason and name != FILE]
    values = {COUNTED: float(bool(counted) or not reasons), "cut": float(answer.cut)}
    row = TestResult(test=ACCEPTED, verdict="no_answer", detail=detail, values=values)
    return [
        row,
        *(TestResult(test=name, verdict="no_answer", detail=detail, values={COUNTED: 1.0}) for name in counted),
    ]


def _share(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
