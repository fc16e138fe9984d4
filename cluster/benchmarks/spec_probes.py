"""The functional tests of InteractScience as probes, so that a policy can be trained on them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actors.playwright.recorder import RecordedTest, record_spec
from cluster.benchmarks.interactscience import FOLDERS
from rollout.records import Task

AT_ONCE = 2
"""Specifications that are recorded at a time."""
MOST_REASON = 60
"""Characters of a reason that are compared."""


async def recorded(source: Path, names: Sequence[str]) -> dict[str, tuple[RecordedTest, ...]]:
    """The tests of each task of a clone. Raises the errors of `record_spec`."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> tuple[RecordedTest, ...]:
        async with limit:
            return await record_spec(source / FOLDERS["pft"] / f"{name}.spec.js")

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def with_probes(tasks: Sequence[Task], tests: dict[str, tuple[RecordedTest, ...]]) -> list[Task]:
    """Tasks with the probes of their tests."""
    return [replace(task, probes=tuple(one.probe for one in tests[task.id] if one.probe is not None)) for task in tasks]


def table(tests: dict[str, tuple[RecordedTest, ...]]) -> str:
    """The number of translated tests, and of the others by reason."""
    every = [one for found in tests.values() for one in found]
    reasons = Counter(one.reason[:MOST_REASON] for one in every if one.probe is None)
    translated = len(every) - reasons.total()
    lines = [f"{translated:5} of {len(every)} functional tests are probes"]
    return "\n".join([*lines, *(f"{count:5} {reason}" for reason, count in reasons.most_common())])
