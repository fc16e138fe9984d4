"""Measures one policy on one benchmark: launches the actors, plays the items, writes summary and report."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cluster.benchmarks.answers import EndpointWriter, FileWriter, PolicyWriter, StoredWriter
from cluster.benchmarks.benchmark import Benchmark, Services, Writer
from cluster.benchmarks.play import counts, play, units
from cluster.benchmarks.records import Dataset
from cluster.benchmarks.report import write_report
from cluster.benchmarks.results import MANIFEST, ResultFolder
from cluster.benchmarks.services import benchmark_actors
from cluster.benchmarks.source import Source
from cluster.distributed.stop_signals import restore_handlers
from cluster.settings import RunSettings
from rollout.files import atomic_write

PROGRESS_S = 10.0


async def measure(
    benchmark: Benchmark, dataset: Dataset, source: Source, settings: RunSettings, folder: ResultFolder, *, seed: int
) -> dict[str, Any]:
    """Plays what the folder lacks, and writes table, summary and report. Returns the summary. Raises RelookError."""
    started = time.monotonic()
    async with _services(benchmark, source, settings, seed) as (services, writer):
        todo = units(dataset.items, StoredWriter(writer, folder.path / "answers.jsonl"))
        at_once = 2 * settings.browser.count if source.answers is not None else settings.policy.max_num_seqs
        await play(benchmark, todo, services, folder, at_once=at_once, progress=_Progress())
        browser = services.browser
        judge = services.judge.identity.summary() if services.judge is not None else None
    summary = {
        **json.loads((folder.path / MANIFEST).read_text("utf-8")),
        "repairs": list(benchmark.repairs),
        "scores": {subject: benchmark.scores(results) for subject, results in folder.results.items()},
        "tests": {subject: counts(results) for subject, results in folder.results.items()},
        "browser": browser,
        "judge_server": judge,
        "seconds": time.monotonic() - started,
    }
    await asyncio.to_thread(folder.write_table)
    atomic_write(folder.path / "summary.json", json.dumps(summary, indent=1).encode())
    await asyncio.to_thread(write_report, folder, summary, [item.id for item in dataset.items])
    return summary


@asynccontextmanager
async def _services(
    benchmark: Benchmark, source: Source, settings: RunSettings, seed: int
) -> AsyncIterator[tuple[Services, Writer]]:
    """The services of the tests and the writer of the answers. Connects to Ray."""
    from actors.judge_api.client import JudgeClient
    from cluster.distributed.connection import connect

    print("starting Ray, browsers and engines …", file=sys.stderr, flush=True)
    client = JudgeClient(source.endpoint) if source.endpoint is not None else None
    judge = JudgeClient(settings.critic) if benchmark.needs_judge else None
    clients = [one for one in (client, judge) if one is not None]
    for one in clients:
        await one.check()
    connection = await asyncio.to_thread(connect)
    try:
        restore_handlers()
        async with benchmark_actors(settings, runner=benchmark.runner, model=source.model) as (services, policy):
            services = replace(services, judge=judge)
            if client is not None:
                yield services, EndpointWriter(client, benchmark.sampling, seed)
            elif policy is not None:
                yield services, PolicyWriter(policy, benchmark.sampling, seed)
            else:
                yield services, FileWriter(source.answers or {})
    finally:
        for one in clients:
            await one.close()
        await asyncio.to_thread(connection.leave)


class _Progress:
    """Prints a line for every item on a terminal, otherwise one every PROGRESS_S seconds."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.printed = self.started

    def __call__(self, done: int, total: int, line: str) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() or done == total or now - self.printed >= PROGRESS_S:
            self.printed = now
            print(f"[{now - self.started:6.0f} s] {done} of {total}: {line}", file=sys.stderr, flush=True)
