"""Two judges of the same pages: what a run's critic said, and what a critic says now."""

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

IN_FLIGHT = 8
"""Pages looked at at once."""
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgment:
    """One page as it was judged, and as it is judged now."""

    task: str
    page_sha256: str
    then: float
    """Score of the run's critic, in [0, 1]."""
    now: float | None
    """Score of today's critic; None for a page that does not render validly today."""
    outcome: Outcome = "ok"
    """What becomes of the page today."""
    judge: str = ""
    """Who judges today."""
    feedback: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """As plain JSON values."""
        names = ("task", "page_sha256", "then", "now", "outcome", "judge")
        return {name: getattr(self, name) for name in names} | {"feedback": list(self.feedback)}


def judged_pages(store: Store, num: int, *, seed: int) -> list[tuple[Task, Attempt]]:
    """At most `num` pages of a run that its critic judged, each once, chosen by seed. Raises CheckpointError."""
    found: dict[tuple[str, str], tuple[Task, Attempt]] = {}
    for path in sorted(store.trajectories.glob("step-*.parquet")):
        for group in store.read_groups(int(path.stem.removeprefix("step-"))) or ():
            for trajectory in group.trajectories:
                for turn in trajectory.turns:
                    for attempt in turn.attempts:
                        if attempt.critique is not None:
                            found.setdefault((group.task.id, attempt.page.sha256), (group.task, attempt))
    if not found:
        raise CheckpointError(f"{store.trajectories}: no page that a critic judged")
    keys = sorted(found)
    return [found[key] for key in sorted(random.Random(seed).sample(keys, min(num, len(keys))))]


async def judge_again(
    pages: Sequence[tuple[Task, Attempt]], renderer: Renderer, critic: Critic
) -> tuple[list[StoredJudgment], int]:
    """Renders and judges pages once more; and how many were lost to machine faults, which are not judgments."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(task: Task, attempt: Attempt) -> StoredJudgment | None:
        async with room:
            for _ in range(TRIES):
                try:
                    return await _judge(task, attempt, renderer, critic)
                except MachineError:
                    continue
        return None

    judgments = await asyncio.gather(*(one(task, attempt) for task, attempt in pages))
    kept = [judgment for judgment in judgments if judgment is not None]
    return kept, len(judgments) - len(kept)


async def _judge(task: Task, attempt: Attempt, renderer: Renderer, critic: Critic) -> StoredJudgment:
    assert attempt.critique is not None, "only judged pages are judged again"
    then, sha = attempt.critique.score, attempt.page.sha256
    render = await renderer.render(attempt.page, task.probes, task.viewports)
    if not render.valid:
        return StoredJudgment(task=task.id, page_sha256=sha, then=then, now=None, outcome=render.outcome)
    found = await critic.judge(task, attempt.page, render, await render_reference(task, renderer))
    return StoredJudgment(
        task=task.id, page_sha256=sha, then=then, now=found.score, judge=found.judge, feedback=found.feedback
    )


def compare(judgments: Sequence[StoredJudgment]) -> dict[str, float | None]:
    """How far two judges agree.

    - `correlation` (Pearson) and `rank_correlation` (Spearman) over all pages; None where a judge says the same of each
    - `same_order`: share of the pairs of pages of one task that both order alike, a tie counting half
    - `mean_difference`: now minus then, with its 95 % bootstrap interval `low` to `high`
    - `spread`: standard deviation of the differences; of one judge asked twice it is √2 times the judge's noise
    - `now_invalid`: pages that do not render validly today
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
    """The figures for a terminal."""
    return "\n".join(f"{name:17} {'–' if value is None else f'{value:.4g}'}" for name, value in figures.items())


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    try:
        return correlation(one, other)
    except StatisticsError:
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value; equal ones share the mean of theirs."""
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
