"""Rendering of one browser: pages a second, one after the other."""

import time
from collections.abc import Sequence

from cluster.acceptance.measurement import Measurement
from cluster.distributed.clients import RendererClient
from reward.designs import tasks as designs
from rollout.records import Page, Task

PAGES = 8
"""Pages that are rendered, after one that does not count."""
SLOWEST_PAGE_S = 2.0
"""Seconds that a page of this project's own designs may take; 0.15 s are usual on one core."""


def pages_of(tasks: Sequence[Task], stamp: str) -> list[Page]:
    """Reference pages of the tasks, or of built-in designs, each with a comment that no cached render has."""
    shown = [task.reference_html for task in tasks if task.reference_html]
    shown = shown or [task.reference_html for task in designs(PAGES + 1, seed=0, split="train") if task.reference_html]
    return [Page(html=f"{shown[place % len(shown)]}\n<!-- {stamp} {place} -->") for place in range(PAGES + 1)]


async def measure_rendering(browser: object, pages: Sequence[Page], timeout_s: float) -> Measurement:
    """The measurement of one browser, which renders nothing else meanwhile. Raises MachineError."""
    renderer = RendererClient([browser], timeout_s=timeout_s)
    try:
        renders = [await renderer.render(pages[0])]
        started = time.perf_counter()
        renders += [await renderer.render(page) for page in pages[1:]]
        seconds = time.perf_counter() - started
    finally:
        renderer.pool.close()
    return judge_rendering(len(pages) - 1, seconds, [render.outcome for render in renders if not render.valid])


def judge_rendering(num: int, seconds: float, invalid: Sequence[str]) -> Measurement:
    """The measurement from the seconds of `num` pages and the outcomes of those that did not render."""
    slow = seconds / num > SLOWEST_PAGE_S
    advice = "pages that a person wrote do not render: check relook doctor and relook tasks check" if invalid else ""
    return Measurement(
        what="rendering of one browser",
        figure=num / seconds,
        unit="pages/s",
        expected=f"at least {1 / SLOWEST_PAGE_S:g}, and valid renders"
        + (f"; {len(invalid)} are {invalid[0]}" if invalid else ""),
        verdict="wrong" if invalid else "slow" if slow else "ok",
        advice=advice or ("give each browser a core: cluster.browser_cpus = 1" if slow else ""),
    )
