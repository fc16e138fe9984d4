"""InteractScience (arXiv 2510.09724): scientific demonstrations in one page, tested by Playwright specifications.

Two specification files test an item: PFT operates each control and asserts, VQT operates and takes a screenshot.
"""

import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actors.node.records import SpecReport, SpecResult, SpecRun
from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.records import Dataset, Item, Sampling, TestResult
from cluster.training.metrics import mean
from rollout.errors import TaskFileError
from rollout.parsing import parse_page
from rollout.records import Message
from rollout.rows.fields import id_of, text_of
from rollout.rows.json_rows import json_rows

TASKS = "data/interactscience.jsonl"
FOLDERS = {"pft": "PFT_tests", "vqt": "VQT_tests"}
SEPARATOR = " › "
FENCE = re.compile(r"```html\s*\n(.*?)\s*```", re.DOTALL)
CALL = re.compile(
    r"""(?<![\w.$])test(?P<describe>\.describe(?:\.\w+)?)?\(\s*"""
    r"""(?P<title>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)"""
)
"""A call of `test` or `test.describe`; in the specifications, a `describe` is not nested, and tests outside of it
precede it."""
SECONDS_A_TEST = 60.0
"""Time of a run for each of its tests: twice Playwright's timeout, because a browser starts after each failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTest:
    """One `test` call of a specification file."""

    name: str
    body: str


class InteractScience:
    """The benchmark as a clone of its public repository holds it."""

    name = "interactscience"
    files = f"a clone of open-compass/InteractScience, with {TASKS}, PFT_tests and VQT_tests"
    sampling = Sampling(temperature=0.0, max_tokens=16384)
    runner: Runner | None = "playwright"
    needs_judge = False
    explore = 0
    judge_prompt = ""
    repairs: tuple[str, ...] = (
        "Tests outside of a `describe` count: the public scores leave them out.",
        "Tests with `toHaveScreenshot` are excluded: their baselines are not published.",
        "VQT tests that never open the page are excluded: they depend on the page of an earlier test.",
        "HTML entities in an answer are kept: the public harness unescapes them, which changes code.",
        "The page is read by the system's own reader of answers, instead of the first html fence.",
    )

    def __init__(self, faithful: bool = False) -> None:
        self.faithful = faithful

    def load(self, source: Path) -> Dataset:
        """Reads the tasks and their specifications. Raises TaskFileError for a folder that lacks some of them."""
        tasks = source / TASKS
        if not tasks.is_file():
            raise TaskFileError(f"{source}: {TASKS} is missing, wanted {self.files}")
        digest = hashlib.sha256(tasks.read_bytes())
        items: dict[str, Item] = {}
        for where, row in json_rows(tasks):
            name = id_of(f"{tasks}, {where}", row)
            if name in items or Path(name).name != name:
                raise TaskFileError(f"{tasks}, {where}: `id` is {name!r}, wanted a unique file name")
            specs = {kind: _spec(source / folder / f"{name}.spec.js") for kind, folder in FOLDERS.items()}
            digest.update("".join(specs.values()).encode())
            system = text_of(f"{tasks}, {where}", row, "lm_system_prompt")
            question = text_of(f"{tasks}, {where}", row, "question")
            items[name] = Item(
                id=name,
                messages=(Message(role="system", content=system), Message(role="user", content=question)),
                tests=self._tests(source, name, specs),
                data=specs,
            )
        if not items:
            raise TaskFileError(f"{tasks}: it has no tasks, wanted one JSON object a line")
        return Dataset(items=tuple(items.values()), sha256=digest.hexdigest())

    def _tests(self, source: Path, name: str, specs: Mapping[str, str]) -> tuple[str, ...]:
        tests: list[str] = []
        for kind, folder in FOLDERS.items():
            found = list(spec_tests(kind, specs[kind]))
            names = [test.name for test in found]
            if not names or len(set(names)) < len(names):
                raise TaskFileError(f"{source / folder / name}.spec.js: wanted tests with unique titles, got {names}")
            opens = "beforeEach" in specs[kind]
            tests += [test.name for test in found if self.faithful or _passable(kind, test, opens)]
        return tuple(tests)

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """Answers one item and runs both specification files on its page. Raises MachineError."""
        answer = await writer.write(item.id, item.messages)
        page = None if answer.text is None else self.page(answer.text)
        if page is None:
            detail = answer.detail or "the answer has no page"
            return [TestResult(test=test, verdict="no_answer", detail=detail) for test in item.tests]
        specs = {kind: f"{folder}/{item.id}.spec.js" for kind, folder in FOLDERS.items()}
        files = {path: str(item.data[kind]).encode() for kind, path in specs.items()}
        num_tests = sum(1 for kind in specs for _ in spec_tests(kind, str(item.data[kind])))
        run = SpecRun(
            files={**files, f"pages/{item.id}.html": page.encode("utf-8", "replace")},
            specs=tuple(specs.values()),
            run_timeout_s=SECONDS_A_TEST * (num_tests + 1),
        )
        return _results(item, specs, await services.specs.run(run))

    def page(self, text: str) -> str | None:
        """The page of an answer; None if there is none."""
        if not self.faithful:
            return parse_page(text).html
        fence = FENCE.search(text)
        return html.unescape(fence.group(1).strip()) or None if fence else None

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """`pft_overall` is the share of passed tests, `pft_average` the mean share of an item, `pft_perfect` the share
        of items with all passed, `vqt_action` the share of VQT actions that could be done."""
        counted = [[one for one in tests if one.verdict != "machine_fault"] for tests in results.values()]
        pft = [[one.verdict == "pass" for one in tests if self._counts(one.test)] for tests in counted]
        pft = [passes for passes in pft if passes]
        vqt = [one.verdict == "pass" for tests in counted for one in tests if one.test.startswith("vqt/")]
        return {
            "pft_overall": mean([float(passed) for passes in pft for passed in passes]),
            "pft_average": mean([mean([float(passed) for passed in passes]) for passes in pft]),
            "pft_perfect": mean([float(all(passes)) for passes in pft]),
            "vqt_action": mean([float(passed) for passed in vqt]),
        }

    def _counts(self, name: str) -> bool:
        """Whether a test is in the denominator of PFT; the public one holds only tests inside a `describe`."""
        return name.startswith("pft/") and (not self.faithful or SEPARATOR in name)


def spec_tests(kind: str, source: str) -> Iterator[SpecTest]:
    """Yields the tests of a specification file in order: `pft/<describe> › <title>`, `vqt/<title>`."""
    calls = list(CALL.finditer(source))
    ends = [call.start() for call in calls[1:]] + [len(source)]
    describe = ""
    for call, end in zip(calls, ends, strict=True):
        title = re.sub(r"\\(.)", r"\1", call["title"][1:-1])
        if call["describe"]:
            describe = title
        else:
            yield SpecTest(name=_name(kind, (describe,) if describe else (), title), body=source[call.start() : end])


def _name(kind: str, describe: Sequence[str], title: str) -> str:
    return f"{kind}/{title if kind == 'vqt' else SEPARATOR.join((*describe, title))}"


def _passable(kind: str, test: SpecTest, opens: bool) -> bool:
    """Whether some page passes a test. `opens`: a hook of the file opens the page."""
    return "toHaveScreenshot" not in test.body and (kind == "pft" or opens or "goto(" in test.body)


def _spec(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskFileError(f"{path}: cannot be read ({error}); clone the whole repository") from error


def _results(item: Item, specs: Mapping[str, str], report: SpecReport) -> list[TestResult]:
    """The result of each of the item's tests; the last VQT test carries the last screenshot."""
    kinds = {path: kind for kind, path in specs.items()}
    ran = {_name(kinds[one.spec], one.describe, one.title): one for one in report.results}
    results = [_result(test, ran.get(test)) for test in item.tests]
    pictures = [name for name in sorted(report.pictures) if name.startswith("snapshots/")]
    if pictures and results:
        results[-1] = replace(results[-1], picture=report.pictures[pictures[-1]])
    return results


def _result(test: str, ran: SpecResult | None) -> TestResult:
    if ran is None:
        return TestResult(test=test, verdict="machine_fault", detail="Playwright Test did not report the test")
    if ran.status == "passed":
        return TestResult(test=test, verdict="pass", score=1.0, seconds=ran.seconds)
    detail = f"{ran.status}: {ran.error}" if ran.error else ran.status
    return TestResult(test=test, verdict="fail", detail=detail, seconds=ran.seconds)
