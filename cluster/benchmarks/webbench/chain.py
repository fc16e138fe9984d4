"""Plays a project of Web-Bench: its tasks in order on the files that the last task left, two attempts each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from actors.node.records import SpecResult, SpecRun
from cluster.benchmarks.benchmark import SpecRunner, Writer
from cluster.benchmarks.webbench.projects import INIT, Project, ProjectTask, spec_path
from cluster.benchmarks.webbench.prompts import messages
from reward.benchmarks.file_blocks import WrittenFiles, read_files

ATTEMPTS = 2
HELPER = "node_modules/@web-bench/test-util/index.js"
ACTION_TIMEOUT_S = 5.0
RUN_TIMEOUT_S = 540.0
"""Less than the timeout of an actor's call; the public limit is 600 s."""
MAX_FAILURES = 5
"""Failed tests after which a run ends: a page that loops costs each of its tests the whole timeout."""
NEXT_SPECS = 8
"""Specifications of a run on files that passed so far, so that the run stays within its time on a slow machine."""
MAX_ERROR_CHARS = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one task. Example: task-3 passed with the second attempt."""

    task: str
    in_chain: bool
    """Whether all tasks before it passed."""
    passed: bool
    """Whether the specifications that were run pass: in the chain those up to the task's, otherwise its own."""
    own_passed: bool
    """Whether the task's own specification passes."""
    answered: bool
    """Whether an attempt had files to test."""
    attempts: int
    error: str = ""
    """Errors of the last attempt, as the policy reads them."""
    seconds: float = 0.0


class Chain:
    """One project and one writer.

    `faithful` ends at the first failed task; otherwise the later tasks are still asked, and tested by their own
    specifications alone.
    """

    def __init__(self, project: Project, writer: Writer, specs: SpecRunner, *, faithful: bool) -> None:
        self.project = project
        self.writer = writer
        self.specs = specs
        self.faithful = faithful
        self.files: dict[str, str] = {} if project.tasks[0].id == INIT else dict(project.initial)
        self.in_chain = True
        self._ran: dict[str, tuple[SpecResult, ...]] = {}

    async def play(self) -> list[Outcome]:
        """Plays every task. Raises MachineError."""
        outcomes: list[Outcome] = []
        for task in self.project.tasks:
            outcome = await self._task(task)
            outcomes.append(outcome)
            if not outcome.passed and task.id == INIT:
                self._become(dict(self.project.initial))
            elif not outcome.passed:
                self.in_chain = False
                if self.faithful:
                    break
        return outcomes

    async def _task(self, task: ProjectTask) -> Outcome:
        specs = self.project.specs(task.id) if self.in_chain else (spec_path(task.id),)
        outcome = Outcome(
            task=task.id, in_chain=self.in_chain, passed=False, own_passed=False, answered=False, attempts=0
        )
        for attempt in range(1, ATTEMPTS + 1):
            asked = messages(task, self.files, self.project.initial, outcome.error)
            answer = await self.writer.write(key_of(self.project.name, task.id, attempt), asked)
            if answer.text is None:
                if attempt == 1:
                    outcome = self._failed(outcome, attempt, answer.detail)
                break
            written = self._written(read_files(answer.text, faithful=self.faithful))
            if written.problem:
                outcome = self._failed(outcome, attempt, written.problem)
                continue
            outcome = await self._tested(task, specs, attempt, outcome.seconds)
            if outcome.passed:
                break
        return outcome

    def _failed(self, last: Outcome, attempt: int, problem: str) -> Outcome:
        """The outcome of an attempt without files to test."""
        return Outcome(
            task=last.task,
            in_chain=last.in_chain,
            passed=False,
            own_passed=False,
            answered=last.answered,
            attempts=attempt,
            error=problem,
            seconds=last.seconds,
        )

    async def _tested(self, task: ProjectTask, specs: Sequence[str], attempt: int, seconds: float) -> Outcome:
        """Runs the specifications that did not run on these files yet."""
        if any(spec not in self._ran for spec in specs):
            left = [spec for spec in self._likely(specs) if spec not in self._ran]
            report = await self.specs.run(self._run(task, tuple(left)))
            seconds += report.seconds
            for spec in left:
                results = tuple(one for one in report.results if one.spec == spec)
                if spec in specs or not any(one.status == "skipped" for one in results):
                    self._ran[spec] = results
        wrong = [one for spec in specs for one in self._ran[spec] if one.status != "passed"]
        own = spec_path(task.id)
        return Outcome(
            task=task.id,
            in_chain=self.in_chain,
            passed=not wrong,
            own_passed=all(one.status == "passed" for one in self._ran[own]),
            answered=True,
            attempts=attempt,
            error=_error(wrong),
            seconds=seconds,
        )

    def _likely(self, specs: Sequence[str]) -> Sequence[str]:
        """The specifications to run: also those of the next tasks if an answer left files unchanged that passed so far.

        The answers to the next tasks are then likely to leave them unchanged too, as the reference does.
        """
        passed = all(one.status == "passed" for results in self._ran.values() for one in results)
        if not self._ran or not passed:
            return specs
        every = self.project.specs(self.project.tasks[-1].id)
        return every[: every.index(specs[-1]) + NEXT_SPECS]

    def _run(self, task: ProjectTask, specs: tuple[str, ...]) -> SpecRun:
        """The run of some specifications on the present files."""
        helper = (Path(__file__).parent / "test_util.js").read_bytes()
        return SpecRun(
            files={
                **{f"src/{path}": text.encode("utf-8", "replace") for path, text in self.files.items()},
                **self.project.harness,
                HELPER: helper,
            },
            specs=specs,
            served="src",
            environment={
                "EVAL_PROJECT_ROOT": "/specs/src",
                "EVAL_TASK": task.id,
                "EVAL": "true",
                "IS_EVAL_PRODUCTION": "true",
                "RELOOK_FAITHFUL": "1" if self.faithful else "",
            },
            action_timeout_s=0.0 if self.faithful else ACTION_TIMEOUT_S,
            run_timeout_s=RUN_TIMEOUT_S,
            max_failures=0 if self.faithful else MAX_FAILURES if self.in_chain else 1,
            faults_fail=self.faithful or any(self.project.imports_answer(spec) for spec in specs),
        )

    def _written(self, written: WrittenFiles) -> WrittenFiles:
        """Writes the files of an answer; an empty block does not empty a file. Returns them, with a problem if any."""
        files = dict(self.files)
        for path, text in written.files.items():
            if text.strip() or path not in files:
                files[path] = text
        folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
        both = sorted(folders & set(files))
        if both:
            return WrittenFiles(files={}, problem=f"{both[0]} is both a file and a folder.")
        self._become(files)
        return written

    def _become(self, files: dict[str, str]) -> None:
        if files != self.files:
            self.files = files
            self._ran = {}


def key_of(project: str, task: str, attempt: int) -> str:
    """Key of an answer. Examples: `calculator/task-3`, `calculator/task-3/2`."""
    return f"{project}/{task}" if attempt == 1 else f"{project}/{task}/{attempt}"


def _error(wrong: Sequence[SpecResult]) -> str:
    """Failed tests with their errors; tests that did not run because of them are left out."""
    lines = [
        f"{one.spec} › {' › '.join((*one.describe, one.title))}: {one.error or one.status.replace('_', ' ')}"
        for one in wrong
        if one.status != "skipped"
    ]
    return "\n".join(lines)[:MAX_ERROR_CHARS]
