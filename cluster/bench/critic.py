"""The embedded critic: what one judgment costs."""

import asyncio
import time
from statistics import median

from cluster.bench.part import Figures
from cluster.bench.render import PAGES, rendered
from reward.designs import tasks
from rollout.records import Page


def bench_critic() -> Figures:
    """Milliseconds of one judgment by the embedded critic, and that as a share of one render."""
    from reward.visual.critic import VisualCritic

    walls, renders = asyncio.run(rendered(PAGES))
    critic, spent = VisualCritic(), []
    drawn = tasks(PAGES, seed=0, split="train")
    for task, render, wanted in zip(drawn, renders, renders[1:], strict=False):
        pictures, others = ([shot.picture for shot in one.shots if not shot.label] for one in (render, wanted))
        started = time.process_time()
        critic.judge(task, Page(html=task.reference_html), render, wanted, tuple(pictures), tuple(others))
        spent.append(time.process_time() - started)
    return {"ms_per_judgment": 1000 * median(spent), "share_of_render": median(spent) / median(walls)}
