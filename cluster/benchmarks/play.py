"""Plays a benchmark: every item with every subject, a few at a time, with retries of machine faults."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.benchmarks.answers import FixedWriter
from cluster.benchmarks.benchmark import Benchmark, Services, Writer
from cluster.benchmarks.records import Item, TestResult
from cluster.benchmarks.results import ResultFolder
from rollout.errors import MachineError, StorageFault, fault_line
from rollout.retry import Retries
from rollout.together import gather_or_cancel

logger = logging.getLogger(__name__)
RETRIES = 2
EMPTY, REFERENCE, POLICY = "empty page", "reference", "policy"
Progress = Callable[[int, int, str], None]
"""Called after each item: items played, all items, and the line about the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One item for one subject to answer."""

    subject: str
    item: Item
    writer: Writer


def units(items: Sequence[Item], policy: Writer) -> list[Unit]:
    """The policy's items first, then the two rows that every table shows: references, and an empty page."""
    fixed = [
        Unit(subject=REFERENCE, item=item, writer=FixedWriter(item.reference))
        for item in items
        if item.reference is not None
    ]
    return [
        *(Unit(subject=POLICY, item=item, writer=policy) for item in items),
        *fixed,
        *(Unit(subject=EMPTY, item=item, writer=FixedWriter(item.empty)) for item in items),
    ]


async def play(
    benchmark: Benchmark,
    todo: Sequence[Unit],
    services: Services,
    folder: ResultFolder,
    *,
    at_once: int,
    progress: Progress,
) -> None:
    """Plays the units that the folder has no results of, `at_once` at a time. Raises StorageFault and BadInput.

    A machine fault is retried; after RETRIES retries the item's tests get the verdict `machine_fault`.
    """
    left = [unit for unit in reversed(todo) if not folder.played(unit.subject, unit.item.id)]
    total = len(todo)
    done = total - len(left)

    async def work() -> None:
        nonlocal done
        while left:
            unit = left.pop()
            results = await _tested(benchmark, unit, services)
            await asyncio.to_thread(folder.add, unit.subject, unit.item.id, results)
            done += 1
            progress(done, total, line(unit, results))

    await gather_or_cancel(*(work() for _ in range(min(at_once, len(left)))))


async def _tested(benchmark: Benchmark, unit: Unit, services: Services) -> list[TestResult]:
    retries = Retries(f"{unit.subject}, {unit.item.id}", RETRIES)
    try:
        results = await retries.call(lambda: benchmark.play(unit.item, unit.writer, services))
    except StorageFault:
        raise
    except MachineError as fault:
        detail = fault_line(fault)
        return [
            TestResult(test=test, verdict="machine_fault", detail=detail, retries=RETRIES) for test in unit.item.tests
        ]
    tests = tuple(one.test for one in results)
    assert tests[: len(unit.item.tests)] == unit.item.tests, (
        f"{unit.item.id}: got results of {tests}, wanted {unit.item.tests}"
    )
    return [replace(one, retries=len(retries.faults)) for one in results]


def line(unit: Unit, results: Sequence[TestResult]) -> str:
    """One line about an item. Example: `policy, AdditiveCipher: 3 of 6 pass`."""
    passed = sum(one.verdict == "pass" for one in results)
    others = {one.verdict for one in results} - {"pass", "fail"}
    return f"{unit.subject}, {unit.item.id}: {passed} of {len(results)} pass{''.join(f', {name}' for name in others)}"


def counts(results: Mapping[str, Sequence[TestResult]]) -> dict[str, int]:
    """Number of tests by verdict, and of retries after machine faults."""
    every = [one for tests in results.values() for one in tests]
    verdicts = {verdict: sum(one.verdict == verdict for one in every) for verdict in ("pass", "fail", "no_answer")}
    faults = sum(one.verdict == "machine_fault" for one in every)
    return {**verdicts, "machine_fault": faults, "retries": sum(one.retries for one in every)}
