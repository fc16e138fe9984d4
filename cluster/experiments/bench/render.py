"""Benchmark of rendering: a page's cost here and with other methods on one core, and the gain of a second core.

All methods take screenshots at 0, 1 and 2 s of page time; this renderer also extracts the visible content, with all
isolation active.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from cluster.experiments.bench.baselines import browser_per_page, context_per_page, full_chromium, launch_options
from cluster.experiments.bench.corpus import corpus
from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.processor import cpu_seconds, pin
from cluster.settings import RunSettings
from reward.designs import tasks
from rollout.records import Page, Render

PAGES = 60
ROUNDS = 2
"""Renders of each page by each method, alternating; a comment defeats all caches."""
COMPARED = 14
Show = Callable[[str], Awaitable[object]]


def bench_render() -> Figures:
    """Medians of wall and CPU milliseconds a page, and their ratios.

    Without a full Chromium, the two other methods use the headless shell, which is faster; `full_chromium` records it.
    """
    full = full_chromium() is not None
    if not full:
        print(
            "no full Chromium is installed (apt-get install chromium): the two baselines use the headless shell … ",
            end="",
            file=sys.stderr,
            flush=True,
        )
    return _cores() | asyncio.run(_compare()) | {"full_chromium": float(full)}


async def rendered(num: int) -> tuple[float, list[Render]]:
    """CPU seconds a page, and the renders of the first `num` built-in designs."""
    from actors.browser.renderer import ChromiumRenderer

    renderer = ChromiumRenderer(RunSettings().browser)
    await renderer.start()
    try:
        started = cpu_seconds()
        renders = [await renderer.render(Page(html=task.reference_html)) for task in tasks(num, seed=0, split="train")]
        return (cpu_seconds() - started) / num, renders
    finally:
        await renderer.stop()


async def _compare() -> Figures:
    """Measures three methods on one core, alternating page by page."""
    from playwright.async_api import async_playwright

    from actors.browser.renderer import ChromiumRenderer

    pin(1)
    ours = ChromiumRenderer(RunSettings().browser)
    await ours.start()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**launch_options())
        ways: dict[str, Show] = {
            "ours": lambda html: ours.render(Page(html=html)),
            "artifactsbench": browser_per_page,
            "fresh_context": lambda html: context_per_page(browser, html),
        }
        try:
            return await _in_turns(ways, corpus(COMPARED))
        finally:
            await browser.close()
            await ours.stop()


async def _in_turns(ways: dict[str, Show], pages: list[str]) -> Figures:
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for name, show in ways.items():
        await show(f"<!doctype html><p>warms {name} up")
    for turn in range(ROUNDS):
        for html in pages:
            for name, show in ways.items():
                cpu, wall = cpu_seconds(), time.perf_counter()
                await show(f"{html}<!-- {turn} -->")
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(cpu_seconds() - cpu)
    wall_ms = {name: 1000 * median(walls[name]) for name in ways}
    cpu_ms = {name: 1000 * median(cpus[name]) for name in ways}
    figures = {"pages": float(len(pages)), "rounds": float(ROUNDS), "cpu_ms_per_page": cpu_ms["ours"]}
    for name in list(ways)[1:]:
        figures |= {
            f"ratio_{name}_wall": wall_ms[name] / wall_ms["ours"],
            f"ratio_{name}_cpu": cpu_ms[name] / cpu_ms["ours"],
        }
    for name in ways:
        figures |= {f"{name}_wall_ms": wall_ms[name], f"{name}_cpu_ms": cpu_ms[name]}
    return figures


def _cores() -> Figures:
    """Pages a second of one browser on one core, and of two on two cores; the better of two measurements each."""
    cores = sorted(os.sched_getaffinity(0))
    one, two = 0.0, 0.0
    for _ in range(ROUNDS):
        one = max(one, _together(cores[-1:]))
        if len(cores) > 1:
            two = max(two, _together(cores[-2:]))
    figures = {"pages_per_s_per_core": one}
    return figures | ({"pages_per_s_two_cores": two, "two_cores_ratio": two / one} if two else {})


def _together(cores: list[int]) -> float:
    """Total pages a second of processes that start at once, with one browser and one core each."""
    context = multiprocessing.get_context("spawn")
    begin, rates = context.Barrier(len(cores)), context.Queue()
    workers = [context.Process(target=_work, args=(core, begin, rates)) for core in cores]
    for worker in workers:
        worker.start()
    total = sum(rates.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)


def _work(core: int, begin: Any, rates: Any) -> None:
    os.sched_setaffinity(0, [core])
    rates.put(asyncio.run(_rate(begin)))


async def _rate(begin: Any) -> float:
    from actors.browser.renderer import ChromiumRenderer

    renderer = ChromiumRenderer(RunSettings().browser)
    await renderer.start()
    try:
        for html in corpus(PAGES)[:5]:
            await renderer.render(Page(html=f"{html}<!-- warm -->"))
        begin.wait()
        started = time.perf_counter()
        for html in corpus(PAGES):
            await renderer.render(Page(html=html))
        return PAGES / (time.perf_counter() - started)
    finally:
        await renderer.stop()
