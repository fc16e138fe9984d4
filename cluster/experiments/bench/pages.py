"""Renders folders of existing pages: outcomes, wall and CPU seconds, faults and flags by folder.

Environment variables: PAGES is a folder with a subfolder of .html files for each set, PAGES_MOST limits the pages of a
set, and PAGES_MIRROR is a library folder made by `relook mirror build`. `runs/pages.jsonl` gets one line a page.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import TypedDict

from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.processor import CpuSampler
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from rollout.errors import BrowserFault
from rollout.files import atomic_write
from rollout.records import Page, Render

MIRROR = Path(os.environ["PAGES_MIRROR"]) if os.environ.get("PAGES_MIRROR") else None
MOST = int(os.environ["PAGES_MOST"]) if "PAGES_MOST" in os.environ else None
Show = Callable[[Page], Awaitable[Render]]


class PageRow(TypedDict):
    """Result of one page; `machine_fault` is the outcome after a machine fault."""

    set: str
    page: str
    outcome: str
    detail: str
    wall_s: float
    cpu_s: float
    flags: tuple[str, ...]
    blocked: tuple[str, ...]


def bench_pages() -> dict[str, Figures]:
    """For each set: pages, valid pages, machine faults, seconds, share of flagged pages, outcomes and flags."""
    folder = Path(os.environ.get("PAGES", ""))
    sets = sorted(path for path in folder.iterdir() if path.is_dir()) if "PAGES" in os.environ else []
    if not sets:
        raise SystemExit(f"PAGES is {str(folder)!r}, wanted a folder with one folder of .html files a set")
    rows = list(asyncio.run(_rendered(sets)))
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    atomic_write(resolve_path("runs") / "pages.jsonl", lines.encode())
    return {path.name: _figures([row for row in rows if row["set"] == path.name]) for path in sets}


async def _rendered(sets: list[Path]) -> list[PageRow]:
    from actors.browser.renderer import ChromiumRenderer

    renderer = ChromiumRenderer(RunSettings().browser.model_copy(update={"mirror": MIRROR}))
    await renderer.start()
    try:
        with CpuSampler() as cpu:
            return [await _row(renderer.render, cpu, path) for path in _files(sets)]
    finally:
        await renderer.stop()


def _files(sets: list[Path]) -> Iterator[Path]:
    for folder in sets:
        yield from islice(sorted(folder.glob("*.html")), MOST)


async def _row(render: Show, cpu: CpuSampler, path: Path) -> PageRow:
    page = Page(html=path.read_text(encoding="utf-8", errors="replace"))
    started = time.perf_counter()
    spent_s = cpu.seconds()
    try:
        seen = await render(page)
        outcome, detail = str(seen.outcome), seen.detail
        flags, blocked = seen.flags, seen.blocked
    except BrowserFault as fault:
        outcome, detail = "machine_fault", str(fault)
        flags, blocked = (), ()
    row = PageRow(
        set=path.parent.name,
        page=path.stem,
        outcome=outcome,
        detail=detail,
        wall_s=round(time.perf_counter() - started, 3),
        cpu_s=round(cpu.seconds() - spent_s, 3),
        flags=flags,
        blocked=blocked,
    )
    print(f"{row['set']}/{row['page']}: {outcome}, {row['wall_s']:.2f} s, CPU {row['cpu_s']:.2f} s", file=sys.stderr)
    return row


def _figures(rows: list[PageRow]) -> Figures:
    outcomes, flags = Counter(row["outcome"] for row in rows), Counter(flag for row in rows for flag in row["flags"])
    walls, cpus = [row["wall_s"] for row in rows], [row["cpu_s"] for row in rows]
    figures = {
        "pages": float(len(rows)),
        "valid": float(outcomes["ok"]),
        "machine_faults": float(outcomes["machine_fault"]),
        "wall_s": sum(walls),
        "cpu_s": sum(cpus),
        "wall_p95_s": _p95(walls),
        "flagged_share": sum(bool(row["flags"]) for row in rows) / max(1, len(rows)),
        "wall_median_s": median(walls or [0.0]),
        "wall_max_s": max(walls, default=0.0),
        "cpu_median_s": median(cpus or [0.0]),
        "cpu_p95_s": _p95(cpus),
    }
    figures |= {f"outcome_{name}": float(num) for name, num in sorted(outcomes.items())}
    return figures | {f"flag_{name}": float(num) for name, num in sorted(flags.items())}


def _p95(values: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else sum(values)
