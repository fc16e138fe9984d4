"""Rendering: pages a second of one browser, and whether the pictures are the same again."""

import asyncio
import time
from statistics import median

from cluster.bench.part import Figures
from cluster.settings import RunSettings
from reward.designs import tasks
from rollout.records import Page, Render

PAGES = 60


def bench_render() -> Figures:
    """Pages a second of one browser, three shots and extraction each, on the built-in designs."""
    walls, renders = asyncio.run(rendered(PAGES))
    again, twins = asyncio.run(rendered(PAGES))
    same = [[s.sha256 for s in a.shots] == [s.sha256 for s in b.shots] for a, b in zip(renders, twins, strict=True)]
    return {
        "pages": float(PAGES),
        "pages_per_s_per_core": 1 / median(walls + again),
        "wall_ms_per_page": 1000 * median(walls + again),
        "cpu_ms_per_page": 1000 * median(render.cpu_seconds for render in renders),
        "identical_share": sum(same) / len(same),
    }


async def rendered(num: int) -> tuple[list[float], list[Render]]:
    """Wall seconds and renders of the first `num` built-in designs."""
    from actors.browser import ChromiumRenderer

    renderer, walls, renders = ChromiumRenderer(RunSettings().browser), [], []
    await renderer.start()
    try:
        for task in tasks(num, seed=0, split="train"):
            started = time.perf_counter()
            renders.append(await renderer.render(Page(html=task.reference_html)))
            walls.append(time.perf_counter() - started)
    finally:
        await renderer.stop()
    return walls, renders
