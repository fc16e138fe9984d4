"""Renders and judges damaged pages as first pages of episodes; keeps the results of each task in a cache.

A damaged page plays an episode without revisions, so its feedback is that of a policy that wrote this page:
the critique, or the complaint about a page that does not render.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

from cluster.distributed.worker import EpisodeWorker
from cluster.settings import RunSettings
from learner.supervised import damage, elements, markup_damage, script_damage, style_damage
from learner.supervised.damage import DamagedPage, damaged_pages
from rollout.acceptance import improves
from rollout.files import atomic_write
from rollout.prompts import answer
from rollout.records import Attempt, Completion, Request, Task
from rollout.rows.parquet_rows import parquet_rows
from rollout.seeds import seed_of
from rollout.tasks import digest
from rollout.together import gather_or_cancel

SOURCES = (damage, elements, markup_damage, script_damage, style_damage)
"""Modules that determine the damaged pages; a change invalidates the cache."""
Progress = Callable[[int, int], None]
"""Progress callback: tasks judged, total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPage:
    """A damaged page with its reward, that of the task's reference page, and the feedback of an episode."""

    task: str
    damage: str
    answer: str
    """The policy's answer with the damaged page."""
    outcome: str
    """Render outcome, or `no_page`."""
    reward: float
    reference: float
    """Reward of the reference page."""
    feedback: tuple[str, ...]

    def is_worse(self, margin: float) -> bool:
        """Whether Forced Optimization would accept the reference as a revision of this page."""
        return improves(self.reference, self.reward, margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTask:
    """The judged pages of one task."""

    pages: tuple[JudgedPage, ...]
    lost: int = 0
    """Damaged pages that machine faults left without a judgment; the task is not cached then."""


class WrittenAnswer:
    """Policy port that answers every request with the same text."""

    def __init__(self, text: str) -> None:
        self.completion = Completion(prompt_ids=(), token_ids=(), logprobs=(), text=text, finish="stop", versions=())

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        return (self.completion,) * request.num


class PageJudge:
    """Judges the damaged pages of tasks with an episode worker's renderer and critic."""

    def __init__(self, worker: EpisodeWorker, settings: RunSettings, cache: Path) -> None:
        """`cache` is the folder of results; its name must depend on browser and critic, see `judgment_key`."""
        self.worker, self.settings, self.cache = worker, settings, cache

    async def judge_all(self, tasks: Sequence[Task], *, at_once: int, progress: Progress) -> list[JudgedTask]:
        """Judges the pages of all tasks in order, `at_once` tasks concurrently. Raises StorageFault."""
        limit = asyncio.Semaphore(at_once)
        done = 0

        async def work(task: Task) -> JudgedTask:
            nonlocal done
            async with limit:
                found = await self.judge(task)
            done += 1
            progress(done, len(tasks))
            return found

        return await gather_or_cancel(*(work(task) for task in tasks))

    async def judge(self, task: Task) -> JudgedTask:
        """Judges the damaged pages of a task, or reads them from the cache. Raises StorageFault."""
        path = self.cache / f"{digest(task)}.parquet"
        if path.is_file():
            return JudgedTask(pages=await asyncio.to_thread(read_pages, path, task.id))
        html = task.reference_html or ""
        seed = seed_of(self.settings.seed, "damage", digest(task))
        damaged = damaged_pages(html, self.settings.sft.damages, seed)
        reference, *attempts = await asyncio.gather(
            self._play(task, answer(html)), *(self._play(task, page.answer) for page in damaged)
        )
        if reference is None:
            return JudgedTask(pages=(), lost=len(damaged))
        judged = tuple(
            _judged(task, page, attempt, reference)
            for page, attempt in zip(damaged, attempts, strict=True)
            if attempt is not None
        )
        found = JudgedTask(pages=judged, lost=len(damaged) - len(judged))
        if not found.lost:
            await asyncio.to_thread(write_pages, path, judged)
        return found

    async def _play(self, task: Task, text: str) -> Attempt | None:
        """The judged attempt of an episode whose first answer is `text`; None if a machine fault ended the episode."""
        services = replace(self.worker.services, policy=WrittenAnswer(text))
        worker = EpisodeWorker(services, self.worker.settings, self.worker.store, self.worker.fetch)
        group = await worker.play_group(task, num=1, seed=0, rounds=0)
        return group.trajectories[0].accepted[0] if group.trajectories else None


def _judged(task: Task, page: DamagedPage, attempt: Attempt, reference: Attempt) -> JudgedPage:
    return JudgedPage(
        task=task.id,
        damage=page.damage,
        answer=page.answer,
        outcome=attempt.outcome,
        reward=attempt.total,
        reference=reference.total,
        feedback=attempt.feedback,
    )


def judgment_key(settings: RunSettings, renderer: str, critic: str) -> str:
    """Hash of all that judged pages depend on, except for their task.

    `renderer` and `critic` are the names that the actors give.
    """
    parts = [
        renderer,
        critic,
        settings.renderer.model_dump_json(),
        settings.critic.model_dump_json(),
        settings.score.model_dump_json(),
        f"{settings.sft.damages} {settings.seed}",
    ]
    sources = (Path(str(module.__file__)).read_text(encoding="utf-8") for module in SOURCES)
    return hashlib.sha256("\x1f".join([*parts, *sources]).encode()).hexdigest()[:16]


def write_pages(path: Path, pages: Sequence[JudgedPage]) -> None:
    """Writes judged pages atomically as Parquet. Raises StorageFault."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = {name: pa.string() for name in ("task", "damage", "answer", "outcome")}
    numbers = {name: pa.float64() for name in ("reward", "reference")}
    schema = pa.schema({**text, **numbers, "feedback": pa.list_(pa.string())})
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(page) for page in pages], schema=schema), sink, compression="zstd")
    atomic_write(path, sink.getvalue(), durable=False)


def read_pages(path: Path, task: str | None = None) -> tuple[JudgedPage, ...]:
    """Reads judged pages; `task` replaces their task's id, as tasks with equal content may have other ids."""
    rows = [row for _, row in parquet_rows(path)]
    pages = (JudgedPage(**{**row, "feedback": tuple(row["feedback"])}) for row in rows)
    return tuple(page if task is None else replace(page, task=task) for page in pages)
