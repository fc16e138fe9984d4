"""Endurance benchmark: 2,000 pages in one renderer, one in ten hostile; measures leaks of memory and processes."""

import asyncio
import gc
import os
import sys
from collections import Counter
from pathlib import Path

from cluster.experiments.bench.corpus import corpus
from cluster.experiments.bench.memory import below, pss_kb
from cluster.experiments.bench.part import Figures
from cluster.settings import RunSettings
from rollout.records import Page

PAGES = int(os.environ.get("ENDURANCE_PAGES", "2000"))
LOOK_EVERY = 200
INK = "<!doctype html><body style='background:#cde'><div style='height:200px;background:#936'></div>"
HOSTILE = (
    "setTimeout(() => { while (true) {} }, 300)",
    "const a = []; for (;;) a.push(new Array(1e5).fill({}))",
    "while (true) alert(1)",
    "for (let i = 0; i < 1e5; i++) console.log('flood', i)",
    "for (let i = 0; i < 50; i++) window.open('about:blank')",
    "for (let i = 0; i < 4; i++) new Worker(URL.createObjectURL(new Blob(['for(;;);'])))",
    "location = 'https://example.org/'",
    "localStorage.x = 'x'.repeat(4e6); for (let i = 0; i < 2e4; i++) document.body.append(document.createElement('p'))",
)


def bench_endurance() -> Figures:
    """Memory (PSS) of browser and renderer after warm-up and at the end, its growth, and the remaining processes."""
    return asyncio.run(_endure())


async def _endure() -> Figures:
    from actors.browser.renderer import ChromiumRenderer

    settings = RunSettings().browser.model_copy(update={"cpu_budget_s": 1.5, "recycle_pages": 2 * PAGES})
    renderer, outcomes, looks = ChromiumRenderer(settings), Counter[str](), []
    await renderer.start()
    calm = corpus(LOOK_EVERY)
    try:
        for number in range(PAGES):
            if number % LOOK_EVERY == 0:
                looks.append(_look())
                print(f"\rendurance … page {number} of {PAGES}: {looks[-1]} ", end="", file=sys.stderr, flush=True)
            html = calm[number % len(calm)]
            if number % 10 == 9:
                html = f"{INK}<script>{HOSTILE[number // 10 % len(HOSTILE)]}</script>"
            render = await renderer.render(Page(html=f"{html}<!-- {number} -->"))
            outcomes[render.outcome] += 1
        looks.append(_look())
    finally:
        await renderer.stop()
    await asyncio.sleep(1.0)
    figures = {f"outcome_{name}": float(num) for name, num in sorted(outcomes.items())}
    warm, last = looks[1 if len(looks) > 2 else 0], looks[-1]
    return figures | {
        "pages": float(PAGES),
        "pss_mb_warm": warm["mb"],
        "pss_mb_end": last["mb"],
        "pss_mb_per_1000_pages": 1000 * (last["mb"] - warm["mb"]) / max(1, LOOK_EVERY * (len(looks) - 2)),
        "files_open_warm": warm["files"],
        "files_open_end": last["files"],
        "processes_end": last["processes"],
        "processes_left": float(len(below(os.getpid()))),
    }


def _look() -> dict[str, float]:
    """Memory in MB and number of this process's descendants; memory and open files of this process."""
    gc.collect()
    children = below(os.getpid())
    memory = sum(pss_kb(pid) for pid in [os.getpid(), *children])
    return {
        "mb": memory / 1024,
        "files": float(len(list(Path("/proc/self/fd").iterdir()))),
        "processes": float(len(children)),
    }
