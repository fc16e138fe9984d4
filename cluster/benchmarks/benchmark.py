"""The interface of a benchmark, and the services that its tests use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from actors.judge_api.client import JudgeClient
from actors.node.records import SpecReport, SpecRun
from cluster.benchmarks.records import Answer, Dataset, Item, Sampling, TestResult
from rollout.ports import Renderer
from rollout.records import Message

Runner = Literal["playwright", "jest"]


class SpecRunner(Protocol):
    """Runs specifications of Playwright Test or jest in a fenced process."""

    async def run(self, spec: SpecRun) -> SpecReport:
        """Runs every test of the specification files. Raises BrowserFault when they could not run."""
        ...


class Writer(Protocol):
    """Answers prompts: a policy, an endpoint, a file of answers, or a fixed answer."""

    async def write(self, key: str, messages: Sequence[Message]) -> Answer:
        """The answer to a prompt. `key` is unique: the item's id, and the attempt if there are several.

        Raises MachineError.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that tests use."""

    renderer: Renderer
    specs: SpecRunner
    judge: JudgeClient | None = None
    """The client of the multimodal judge, if the benchmark needs one."""
    browser: str
    """Name of the renderer: engine, browser build, fonts."""
    fetch: Callable[[Any], bytes]
    """The PNG of a `Shot.picture` or of another picture of an actor."""


class Benchmark(Protocol):
    """A public benchmark: reads its files, asks for answers, tests them and computes its scores."""

    name: str
    files: str
    """The path that `load` expects."""
    repairs: tuple[str, ...]
    """Differences from the public harness; none of them applies with `faithful`."""
    sampling: Sampling
    runner: Runner | None
    """The program that runs its tests in Node; None if they need none."""
    needs_judge: bool
    """Whether its tests ask the multimodal judge of the settings."""
    explore: int
    """Controls that browsers operate on each page, unless the settings name another number; 0 for none."""
    judge_prompt: str
    """The text of the question to the judge, without an item's own texts; empty without a judge."""

    def load(self, source: Path) -> Dataset:
        """Reads the items. Raises TaskFileError for a folder that is not the benchmark, or only half of it."""
        ...

    async def play(self, item: Item, writer: Writer, services: Services) -> list[TestResult]:
        """Answers one item and tests the answer: one result for each of the item's tests, in order.

        Raises MachineError; the item is then played again.
        """
        ...

    def scores(self, results: Mapping[str, Sequence[TestResult]]) -> dict[str, float]:
        """Scores in [0, 1] over the results of all items, by item id. Tests with machine faults count nowhere."""
        ...


MakeBenchmark = Callable[[bool], Benchmark]
"""Makes a benchmark; the argument is `faithful`."""
