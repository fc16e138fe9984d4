"""Compares two judges on the same pages: the run's critic as stored, and a critic called now."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import StatisticsError, correlation, fmean, pstdev
from typing import Any

from cluster.storage.store import Store
from learner.promotion import bootstrap
from rollout.errors import CheckpointError, MachineError
from rollout.ports import Critic, Renderer
from rollout.records import Attempt, Outcome, Task
from rollout.reference import render_reference
from rollout.retry import Retries

IN_FLIGHT = 8
"""Pages judged concurrently."""
RETRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgment:
    """The stored and the new judgment of one page."""

    task: str
    page_sha256: str
    then: float
    """Stored score of the run's critic, in [0, 1]."""
    now: float | None
    """New score, in [0, 1]; None for a page that no longer renders validly."""
    outcome: Outcome = "ok"
    """Outcome of rendering the page now."""
    judge: str = ""
    """Name of the judge called now."""
    feedback: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        names = ("task", "page_sha256", "then", "now", "outcome", "judge")
        return {name: getattr(self, name) for name in names} | {"feedback": list(self.feedback)}


def judged_pages(store: Store, num: int, *, seed: int) -> list[tuple[Task, Attempt]]:
    """At most `num` distinct judged pages of a run, sampled by seed. Raises CheckpointError if there are none."""
    found: dict[tuple[str, str], tuple[Task, Attempt]] = {}
    for path in sorted(store.trajectories.glob("step-*.parquet")):
        for group in store.read_groups(int(path.stem.removeprefix("step-"))) or ():
            for trajectory in group.trajectories:
                for turn in trajectory.turns:
                    for attempt in turn.attempts:
                        if attempt.critique is not None:
                            found.setdefault((group.task.id, attempt.page.sha256), (group.task, attempt))
    if not found:
        raise CheckpointError(f"{store.trajectories}: no page was judged by a critic")
    keys = sorted(found)
    return [found[key] for key in sorted(random.Random(seed).sample(keys, min(num, len(keys))))]


async def judge_again(
    pages: Sequence[tuple[Task, Attempt]], renderer: Renderer, critic: Critic
) -> tuple[list[StoredJudgment], int]:
    """Renders and judges pages again. Returns the judgments, and the number of pages lost to machine faults."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(task: Task, attempt: Attempt) -> StoredJudgment | None:
        async with room:
            try:
                retries = Retries(f"page {attempt.page.sha256[:12]}", RETRIES)
                return await retries.call(lambda: _judge(task, attempt, renderer, critic))
            except MachineError:
                return None

    judgments = await asyncio.gather(*(one(task, attempt) for task, attempt in pages))
    kept = [judgment for judgment in judgments if judgment is not None]
    return kept, len(judgments) - len(kept)


async def _judge(task: Task, attempt: Attempt, renderer: Renderer, critic: Critic) -> StoredJudgment:
    assert attempt.critique is not None, "only judged pages are judged again"
    then = attempt.critique.score
    sha = attempt.page.sha256
    render = await renderer.render(attempt.page, task.probes, task.viewports)
    if not render.valid:
        return StoredJudgment(task=task.id, page_sha256=sha, then=then, now=None, outcome=render.outcome)
    found = await critic.judge(task, attempt.page, render, await render_reference(task, renderer))
    return StoredJudgment(
        task=task.id, page_sha256=sha, then=then, now=found.score, judge=found.judge, feedback=found.feedback
    )


def compare(judgments: Sequence[StoredJudgment]) -> dict[str, float | None]:
    """Agreement between the stored and the new judgments.

    - `correlation` (Pearson) and `rank_correlation` (Spearman) over all pages; None where a judge's scores are constant
    - `same_order`: share of page pairs of one task that both order in the same way, a tie counting half
    - `mean_difference`: now minus then, with its 95 % bootstrap interval `low` to `high`
    - `spread`: standard deviation of the differences; for one judge called twice it is √2 times the judge's noise
    - `now_invalid`: pages that no longer render validly
    """
    both = [(one.then, one.now) for one in judgments if one.now is not None]
    figures: dict[str, float | None] = {"pages": len(both), "now_invalid": len(judgments) - len(both)}
    if not both:
        return figures
    then, now = zip(*both, strict=True)
    differences = [after - before for before, after in both]
    difference, low, high = bootstrap(differences, seed=0)
    return figures | {
        "mean_then": fmean(then),
        "mean_now": fmean(now),
        "mean_difference": difference,
        "low": low,
        "high": high,
        "spread": pstdev(differences),
        "correlation": _correlation(then, now),
        "rank_correlation": _correlation(_ranks(then), _ranks(now)),
        "same_order": _same_order(judgments),
    }


def show(figures: dict[str, float | None]) -> str:
    """Formats the figures for a terminal."""
    return "\n".join(f"{name:17} {'–' if value is None else f'{value:.4g}'}" for name, value in figures.items())


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    try:
        return correlation(one, other)
    except StatisticsError:
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value; equal values share their mean rank."""
    places: dict[float, list[int]] = defaultdict(list)
    for place, value in enumerate(sorted(values)):
        places[value].append(place)
    return [fmean(places[value]) for value in values]


def _same_order(judgments: Sequence[StoredJudgment]) -> float | None:
    by_task: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in judgments:
        if one.now is not None:
            by_task[one.task].append((one.then, one.now))
    agreed = [
        0.5 if a[1] == b[1] else float((a[0] < b[0]) == (a[1] < b[1]))
        for pages in by_task.values()
        for a, b in combinations(pages, 2)
        if a[0] != b[0]
    ]
    return fmean(agreed) if agreed else None
