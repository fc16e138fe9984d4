"""Watches the judge: a fixed set of pages is judged anew now and then, and compared with the run's first judgment."""

import asyncio

from cluster.run import Run
from reward.drift import canaries, drift
from rollout.errors import MachineError

TRIES = 3


async def watch_judge(run: Run, step: int) -> dict[str, float]:
    """The metrics of a step's look at the judge, none where none is due; a drift beyond the limit is noted.

    The first step's judgment is the one that all later ones are compared with, resumes included. A judge that gives
    none now is looked at another time: its faults over pages are counted elsewhere.
    """
    settings, first = run.settings.critic, run.state.canaries
    if not settings.drift_every or (first and step % settings.drift_every):
        return {}
    try:
        now = await look(run)
    except MachineError as fault:
        run.watcher.note(f"step {step}: whether the judge has drifted is not known: {fault}")
        return {}
    first = run.state.canaries = first or now
    apart = drift(first, now)
    if apart > settings.drift_limit:
        run.watcher.note(
            f"step {step}: the judge has drifted: its scores of {len(first)} fixed pages are on average {apart:.3f} "
            f"from its first ones, wanted at most {settings.drift_limit:g} (critic.drift_limit); rewards from before "
            "and after cannot be compared"
        )
    return {"judge_drift": apart}


async def look(run: Run) -> dict[str, float]:
    """The judge's scores of the fixed pages, by task. Raises MachineError."""

    async def score(place: int) -> tuple[str, float]:
        task, page = pages[place]
        for _ in range(TRIES - 1):
            try:
                return task.id, (await run.players.judge_anew(task, page)).score
            except MachineError:
                continue
        return task.id, (await run.players.judge_anew(task, page)).score

    pages = list(canaries())
    return dict(await asyncio.gather(*map(score, range(len(pages)))))
