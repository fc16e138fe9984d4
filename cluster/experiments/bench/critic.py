"""Benchmark of the embedded critic: the cost of one judgment."""

import asyncio
import time
from statistics import median

from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.render import PAGES, rendered
from reward.designs import tasks
from rollout.records import Page


def bench_critic() -> Figures:
    """CPU milliseconds of one judgment by the embedded critic, and its share of a render's CPU time.

    References are cached, and shared by a group: `ms_first_judgment` includes the analysis of the reference.
    """
    from reward.visual.critic import VisualCritic

    render_s, renders = asyncio.run(rendered(PAGES))
    critic = VisualCritic()
    spent: dict[str, list[float]] = {"first": [], "next": []}
    for task, *shown in zip(tasks(PAGES, seed=0, split="train"), renders, renders[1:], renders[2:], strict=False):
        one, wanted, other = ((each, tuple(shot.picture for shot in each.shots if not shot.label)) for each in shown)
        for name, (render, pictures) in (("first", one), ("next", other)):
            started = time.process_time()
            critic.judge(task, Page(html=task.reference_html), render, wanted[0], pictures, wanted[1])
            spent[name].append(time.process_time() - started)
    return {
        "ms_per_judgment": 1000 * median(spent["next"]),
        "share_of_render": median(spent["next"]) / render_s,
        "ms_first_judgment": 1000 * median(spent["first"]),
        "render_cpu_ms": 1000 * render_s,
        "judgments": float(len(spent["next"])),
    }
