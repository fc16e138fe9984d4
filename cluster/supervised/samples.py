"""Sampled first pages of held-out tasks, before and after training."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from cluster.distributed.worker import EpisodeWorker
from cluster.report.filmstrips import Pair
from cluster.storage.store import Store
from rollout.errors import PromptTooLong
from rollout.records import Group, Task, Trajectory
from rollout.together import gather_or_cancel

SEED = 0
"""Seed of all samples: a page before and after training differs by the weights only."""


async def sample_pages(worker: EpisodeWorker, tasks: Sequence[Task], step: int) -> list[Trajectory]:
    """Samples, renders and judges one page for each task, and stores them as the exam after `step`.

    Omits tasks whose prompt exceeds the model's context, and tasks lost to machine faults.
    """

    async def sample(task: Task) -> Group | None:
        try:
            return await worker.play_group(task, num=1, seed=SEED, rounds=0, keep=True)
        except PromptTooLong:
            return None

    groups = await gather_or_cancel(*(sample(task) for task in tasks))
    found = [trajectory for group in groups if group is not None for trajectory in group.trajectories]
    worker.store.write_exam(step, found)
    return found


def sample_figures(played: Sequence[Trajectory]) -> Mapping[str, float]:
    """Numbers of sampled answers, of pages in them and of pages that render, and the mean reward."""
    attempts = [trajectory.accepted[0] for trajectory in played]
    return {
        "answers": len(attempts),
        "pages": sum(attempt.page.html is not None for attempt in attempts),
        "valid": sum(attempt.outcome == "ok" for attempt in attempts),
        "reward": fmean(attempt.total for attempt in attempts) if attempts else 0.0,
    }


def sample_pairs(store: Store, before: Sequence[Trajectory], after: Sequence[Trajectory]) -> list[Pair]:
    """The sampled pages of each task that has both, in order."""
    later = {trajectory.task.id: trajectory for trajectory in after}
    return [
        Pair(
            task=one.task,
            before=one.accepted[0],
            after=later[one.task.id].accepted[0],
            reference=store.reference(one.task),
        )
        for one in before
        if one.task.id in later
    ]
