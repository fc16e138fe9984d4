"""Simulated actors that only sleep for the duration of real ones, and stand-ins for Ray's actor handles.

Everything else is the real code: the loop, the stream, the pools, the episodes, storage and batches.
"""

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster.distributed.clients import CriticClient, LearnerClient, PolicyClient, RendererClient
from cluster.distributed.launch import CALLS, critics_at_once
from cluster.distributed.router import RoutedPermits, RouterClient
from cluster.distributed.worker import EpisodeWorker
from cluster.settings import RunSettings
from cluster.storage.store import Store
from reward.score import score
from rollout.ports import EpisodeServices
from rollout.prompts import answer
from rollout.records import (
    Batch,
    Completion,
    Critique,
    Page,
    Probe,
    Render,
    Request,
    Shot,
    Task,
    Update,
    VersionSpan,
    Viewport,
)

TOKENS, CHARS = 800, 3000
"""Mean length of a page, in tokens and in characters."""
CANARY = (1, 2, 3)
WORDS = "<p>" + "A sentence that a page might have. " * 200
IDS, LOGPROBS = tuple(range(16 * TOKENS)), tuple(-0.001 * place for place in range(16 * TOKENS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Mean seconds of each stage. Generation, rendering and judging times are lognormally distributed."""

    write: float = 60.0
    render: float = 1.0
    judge: float = 8.0
    learn: float = 30.0
    sync: float = 2.0
    spread: float = 0.8
    """Standard deviation of the logarithm: at 0.8, one in a hundred takes five times the mean."""

    def faster(self, factor: float) -> "Times":
        """The same times divided by a factor."""
        names = ("write", "render", "judge", "learn", "sync")
        return Times(spread=self.spread, **{name: getattr(self, name) / factor for name in names})

    def draw(self, mean_s: float, dice: random.Random) -> float:
        """Draws the seconds of one task, truncated at ten times the mean, as by a length limit."""
        return min(10 * mean_s, dice.lognormvariate(math.log(mean_s) - self.spread**2 / 2, self.spread))


class Handle:
    """Stand-in for a Ray handle: `handle.method.remote(…)` starts a call and returns an awaitable."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, method: str) -> "Handle":
        return Handle(getattr(self.actor, method))

    def remote(self, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Starts the call."""
        call: asyncio.Future[Any] = asyncio.ensure_future(self.actor(*args, **kwargs))
        return call


class Sleeper:
    """Base of the simulated actors: index, stage times, random generator."""

    def __init__(self, times: Times, place: int) -> None:
        self.times, self.place, self.dice = times, place, random.Random(place)
        self.version = 0

    async def ping(self) -> int:
        """Answers a health check."""
        return self.place

    async def __ray_call__(self, look: Callable[[Any], Any]) -> Any:  # noqa: PLW3201 - Ray's name for it
        return look(self)


class SleepingEngine(Sleeper):
    """Generates up to `at_once` pages concurrently; their length is proportional to their time."""

    def __init__(self, times: Times, place: int, at_once: int) -> None:
        super().__init__(times, place)
        self.at_once, self.slots, self.written = at_once, asyncio.Semaphore(at_once), 0

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        return tuple(await asyncio.gather(*(self._one() for _ in range(request.num))))

    async def update_weights(self, blob: Any, version: int) -> None:
        """Sets the version that is recorded for generated tokens."""
        await asyncio.sleep(self.times.sync)
        self.version = version

    async def prove(self, version: int, canary: tuple[int, ...], wanted: Sequence[float], max_gap: float) -> float:
        """Returns a log-prob difference of 0."""
        return 0.0

    async def _one(self) -> Completion:
        loop = asyncio.get_running_loop()
        begun, version = loop.time(), self.version
        async with self.slots:
            spent = self.times.draw(self.times.write, self.dice)
            await asyncio.sleep(spent)
        self.written += 1
        length = spent / self.times.write
        num = min(len(IDS), 1 + round(TOKENS * length))
        html = f"<h1>{self.place}/{self.written}</h1>{WORDS[: round(CHARS * min(2.0, length))]}"
        return Completion(
            prompt_ids=IDS[:200],
            token_ids=IDS[:num],
            logprobs=LOGPROBS[:num],
            text=answer(html, "a plan"),
            finish="stop",
            versions=(VersionSpan(version=version, start=0, end=num),),
            seconds=loop.time() - begun,
            engine_seconds=spent / self.at_once,
        )


class SleepingBrowser(Sleeper):
    """Renders one page at a time."""

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`."""
        spent, sha = self.times.draw(self.times.render, self.dice), page.sha256
        await asyncio.sleep(spent)
        shots = tuple(Shot(at_ms=1000 * i, sha256=sha, width=800, height=600, picture=b"png") for i in range(3))
        return Render(page_sha256=sha, outcome="ok", shots=shots, renderer="sleeper", seconds=spent)


class SleepingCritic(Sleeper):
    """Judges one page at a time, with a random score."""

    def __init__(self, times: Times, place: int) -> None:
        super().__init__(times, place)
        self.turn = asyncio.Lock()

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`."""
        async with self.turn:
            spent = self.times.draw(self.times.judge, self.dice)
            await asyncio.sleep(spent)
        said = ("The heading should be larger.", "The button should be green.")
        return Critique(score=self.dice.random(), feedback=said, judge="sleeper", seconds=spent)


class SleepingRank(Sleeper):
    """Simulates the time of updates without training."""

    async def update(self, batch: Batch) -> Update:
        """Sleeps and increments the version."""
        await asyncio.sleep(self.times.learn)
        self.version += 1
        return Update(version=self.version, metrics={"loss": 0.0})

    async def get_version(self) -> int:
        """Number of updates so far."""
        return self.version

    async def weights(self) -> bytes:
        """Placeholder bytes."""
        return b"weights"

    async def weights_size(self) -> int:
        """Size of the placeholder in bytes."""
        return 7

    async def logprobs(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """Zeros, the values that the simulated engines are compared with."""
        return tuple(0.0 for _ in token_ids[1:])

    async def save(self, path: Path) -> None:
        """Writes nothing."""

    async def export(self, path: Path) -> None:
        """Writes nothing."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The simulated pools of a run."""

    engines: list[Handle]
    browsers: list[Handle]
    critics: list[Handle]
    ranks: list[Handle]

    @classmethod
    def of(cls, settings: RunSettings, times: Times) -> "Cluster":
        """Creates the pools in the sizes of the settings."""

        def created(kind: Callable[[Times, int], Sleeper], num: int) -> list[Handle]:
            return [Handle(kind(times, place)) for place in range(num)]

        engine = partial(SleepingEngine, at_once=settings.policy.max_num_seqs)
        return cls(
            engines=created(engine, settings.policy.engines),
            browsers=created(SleepingBrowser, settings.browser.count),
            critics=created(SleepingCritic, settings.critic.count),
            ranks=created(SleepingRank, settings.learner.ranks),
        )

    def learner(self) -> LearnerClient:
        """Client of the learner and its engines."""
        return LearnerClient(self.ranks, self.engines, canary=CANARY, max_gap=1e-3, timeout_s=600)

    def worker(self, settings: RunSettings, path: Path, router: RouterClient | None = None) -> EpisodeWorker:
        """An episode worker on these pools, built as in `launch`, with the router's permits if given."""

        def permits(pool: str) -> RoutedPermits | None:
            return RoutedPermits(router, pool) if router else None

        renderer = RendererClient(self.browsers, timeout_s=600, permits=permits("browser"))
        at_once, lost = critics_at_once(settings.critic), renderer.forget
        services = EpisodeServices(
            policy=PolicyClient(self.engines, timeout_s=600, limit=CALLS, permits=permits("policy")),
            renderer=renderer,
            critic=CriticClient(self.critics, timeout_s=600, limit=at_once, lost=lost, permits=permits("critic")),
            score=partial(score, settings=settings.score),
        )
        return EpisodeWorker(services, settings.episode, Store(path))
