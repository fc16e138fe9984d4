"""Web-Bench (arXiv 2505.07473): static projects, each a chain of tasks on the same files.

After every task the project is served, and tested by the specifications of this task and of all tasks before it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.benchmarks.benchmark import Runner, Services, Writer
from cluster.benchmarks.records import EMPTY_DOCUMENT, Dataset, Item, Sampling, TestResult, Verdict
from cluster.benchmarks.webbench.chain import ATTEMPTS, Chain, Outcome, key_of
from cluster.benchmarks.webbench.projects import FILES, INIT, Project, digest_of, read_projects
from cluster.benchmarks.webbench.prompts import messages
from cluster.training.metrics import mean
from reward.benchmarks.file_blocks import write_files

CHAIN, OWN = "chain/", "own/"
"""Prefixes of tests: a task in the chain, and a task by its own specification alone."""


class WebBench:
    """See `cluster.benchmarks.benchmark.Benchmark`. An item is a project, with two tests for each of its tasks."""

    name = "webbench"
    files = FILES
    sampling = Sampling(temperature=0.4, max_tokens=16384)
    runner: Runner | None = "playwright"
    needs_judge = False
    explore = 0
    judge_prompt = ""
    repairs: tuple[str, ...] = (
        "A block of an answer ends at a line of backticks: the public harness ends it at the first three backticks, "
        "even inside of the code.",
        "A block without a file name is an error that the second attempt reads, and the answer changes no file: the "
        "public harness drops the block.",
        "A check of a tolerance fails its test: the public one raises an error that no test waits for.",
        "A fault of the server or the browser is a machine fault: the public harness fails the task.",
        "After the end of the chain, the later tasks are still asked and tested by their own specifications "
        "(`own/…`, `per_task`): the public harness stops.",
        "An action waits 5 s for its element, as an assertion does: in the public harness, the 30 s of the test.",
        "A run of the specifications ends after 5 failed tests, and after the end of the chain at the first: the "
        "public harness runs all of them.",
    )

    def __init__(self, faithful: bool = False) -> None:
        self.faithful = faithful

    def load(self, source: Path) -> Dataset:
        """See `Benchmark`."""
        projects = read_projects(source)
        return Dataset(items=tuple(map(self._item, projects)), sha256=digest_of(projects))

    def _item(self, project: Project) -> Item:
        first = project.tasks[0]
        begun = {} if first.id == INIT else project.initial
        pages = {path: EMPTY_DOCUMENT for path in project.initial if path.endswith(".html")}
        return Item(
            id=project.name,
            messages=messages(first, begun, project.initial, ""),
            tests=self._tests(project),
            reference=write_files(project.reference),
            empty=write_files(pages),
            keys=tuple(
                key_of(project.name, task.id, attempt) for task in project.tasks for attempt in range(1, ATTEMPTS + 1)
            ),
            data={"project": project},
        )

    def _tests(self, project: Project) -> tuple[str, ...]:
        chain = tuple(f"{CHAIN}{task.id}" for task in project.tasks if task.id != INIT)
        return chain if self.faithful else (*chain, *(f"{OWN}{task.id}" for task in project.tasks))

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """See `Benchmark`."""
        chain = Chain(item.data["project"], writer, services.specs, faithful=self.faithful)
        outcomes = {outcome.task: outcome for outcome in await chain.play()}
        failed = [one.task for one in outcomes.values() if one.in_chain and not one.passed and one.task != INIT]
        return [
            _chain_result(test, outcomes.get(test.removeprefix(CHAIN)), failed)
            if test.startswith(CHAIN)
            else _own_result(test, outcomes[test.removeprefix(OWN)])
            for test in item.tests
        ]

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """See `Benchmark`: means over the projects.

        `pass@1` is the share of tasks that passed in a row at the first attempt, `pass@2` with the second one,
        `per_task` the share of tasks whose own specification passes.
        """
        played = [tests for tests in results.values() if all(one.verdict != "machine_fault" for one in tests)]
        scores = {
            f"pass@{attempts}": mean([_in_a_row(tests, attempts) for tests in played])
            for attempts in range(1, ATTEMPTS + 1)
        }
        return scores if self.faithful else {**scores, "per_task": mean([_own_share(tests) for tests in played])}


def _in_a_row(tests: Sequence[TestResult], attempts: int) -> float:
    """The share of tasks of a chain before the first one that needed more attempts, or failed."""
    chain = [one for one in tests if one.test.startswith(CHAIN)]
    passed = [one.verdict == "pass" and one.values["attempts"] <= attempts for one in chain]
    return (passed.index(False) if False in passed else len(passed)) / len(passed)


def _own_share(tests: Sequence[TestResult]) -> float:
    return mean(
        [float(one.verdict == "pass") for one in tests if one.test.startswith(OWN) and one.test != f"{OWN}{INIT}"]
    )


def _chain_result(test: str, outcome: Outcome | None, failed: Sequence[str]) -> TestResult:
    """The result of a task in the chain, which ended at the first of the `failed` tasks."""
    if outcome is None or not outcome.in_chain:
        return TestResult(test=test, verdict="fail", detail=f"the chain ended at {failed[0]}")
    return _result(test, outcome, outcome.passed)


def _own_result(test: str, outcome: Outcome) -> TestResult:
    return _result(test, outcome, outcome.own_passed)


def _result(test: str, outcome: Outcome, passed: bool) -> TestResult:
    verdict: Verdict = "pass" if passed else "fail" if outcome.answered else "no_answer"
    return TestResult(
        test=test,
        verdict=verdict,
        score=float(passed),
        detail="" if passed else " ".join(outcome.error.split()),
        values={"attempts": float(outcome.attempts)},
        seconds=outcome.seconds,
    )
