"""Critic drift check: judges a fixed set of pages periodically and compares the scores with the run's first ones."""

import asyncio
from collections import defaultdict

from cluster.training.run import Run
from reward.drift import canaries, drift
from rollout.errors import MachineError
from rollout.records import Critique, Page, Task
from rollout.retry import Retries

RETRIES = 2
Scores = dict[str, dict[str, float]]
"""Scores of the fixed pages: critic name → task id → score."""


async def watch_judge(run: Run, step: int) -> dict[str, float]:
    """Checks for critic drift when due and returns the step's metric; notes a drift above the limit.

    Scores are compared with the critic's first ones, also after a resume; members of an ensemble separately, because a
    mean would hide a drift. A check that fails with a machine fault is skipped.
    """
    settings = run.settings.critic
    first = run.state.canaries
    if not settings.drift_every or (first and step % settings.drift_every):
        return {}
    try:
        now = await score_pages(run)
    except MachineError as fault:
        run.observer.note(f"step {step}: the drift check of the critics failed: {fault}")
        return {}
    apart = {name: drift(first.setdefault(name, scores), scores) for name, scores in now.items()}
    for name, far in apart.items():
        if far > settings.drift_limit:
            run.observer.note(
                f"step {step}: the critic {name!r} has drifted: its scores of {len(now[name])} fixed pages are on "
                f"average {far:.3f} from its first ones, wanted at most {settings.drift_limit:g} "
                "(critic.drift_limit); rewards from before and after cannot be compared"
            )
    return {"judge_drift": max(apart.values())}


async def score_pages(run: Run) -> Scores:
    """Scores the fixed pages with all critics. Raises MachineError."""
    found: Scores = defaultdict(dict)
    pages = list(canaries())
    judged = await asyncio.gather(*(_judge(run, task, page) for task, page in pages))
    for (task, _), critique in zip(pages, judged, strict=True):
        for name, one in (critique.members or {run.settings.critic.kind: critique}).items():
            found[name][task.id] = one.score
    return dict(found)


async def _judge(run: Run, task: Task, page: Page) -> Critique:
    retries = Retries(f"drift check on page {task.id}", RETRIES)
    return await retries.call(lambda: run.workers.judge_again(task, page))
