"""A cluster that sleeps: actors that take as long as real ones and compute nothing, and stand-ins for Ray's handles.

Everything else is the real thing: the loop, the stream, the pools, the episodes, what is stored and learnt from.
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
"""Mean length of a page."""
CANARY = (1, 2, 3)
WORDS = "<p>" + "A sentence that a page might have. " * 200
IDS, LOGPROBS = tuple(range(16 * TOKENS)), tuple(-0.001 * place for place in range(16 * TOKENS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Mean seconds of what actors do. Pages, renders and judgments scatter as a lognormal does."""

    write: float = 60.0
    render: float = 1.0
    judge: float = 8.0
    learn: float = 30.0
    sync: float = 2.0
    spread: float = 0.8
    """Standard deviation of the logarithm: at 0.8 one in a hundred takes five times the mean."""

    def faster(self, factor: float) -> "Times":
        """The same at another pace."""
        names = ("write", "render", "judge", "learn", "sync")
        return Times(spread=self.spread, **{name: getattr(self, name) / factor for name in names})

    def draw(self, mean_s: float, dice: random.Random) -> float:
        """Seconds of one piece of work; what takes ten times the mean is cut there, as a length limit does."""
        return min(10 * mean_s, dice.lognormvariate(math.log(mean_s) - self.spread**2 / 2, self.spread))


class Handle:
    """Stands in for a Ray handle: `handle.method.remote(…)` begins a call, and is awaited for its answer."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, method: str) -> "Handle":
        return Handle(getattr(self.actor, method))

    def remote(self, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Begins the call."""
        call: asyncio.Future[Any] = asyncio.ensure_future(self.actor(*args, **kwargs))
        return call


class Sleeper:
    """What all of them have: a place, times, dice."""

    def __init__(self, times: Times, place: int) -> None:
        self.times, self.place, self.dice = times, place, random.Random(place)
        self.version = 0

    async def ping(self) -> int:
        """Answers."""
        return self.place

    async def __ray_call__(self, look: Callable[[Any], Any]) -> Any:  # noqa: PLW3201 - Ray's name for it
        return look(self)


class SleepingEngine(Sleeper):
    """Writes up to `at_once` pages at a time; lengths follow the time they take."""

    def __init__(self, times: Times, place: int, at_once: int) -> None:
        super().__init__(times, place)
        self.at_once, self.slots, self.written = at_once, asyncio.Semaphore(at_once), 0

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        return tuple(await asyncio.gather(*(self._one() for _ in range(request.num))))

    async def update_weights(self, blob: Any, version: int) -> None:
        """The version that tokens are said to come from."""
        await asyncio.sleep(self.times.sync)
        self.version = version

    async def prove(self, version: int, canary: tuple[int, ...], wanted: Sequence[float], max_gap: float) -> float:
        """Holds what it was given."""
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
    """Shows one page at a time."""

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`."""
        spent, sha = self.times.draw(self.times.render, self.dice), page.sha256
        await asyncio.sleep(spent)
        shots = tuple(Shot(at_ms=1000 * i, sha256=sha, width=800, height=600, picture=b"png") for i in range(3))
        return Render(page_sha256=sha, outcome="ok", shots=shots, renderer="sleeper", seconds=spent)


class SleepingCritic(Sleeper):
    """Judges one page at a time, as chance will have it."""

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
    """Learns nothing, and takes its time."""

    async def update(self, batch: Batch) -> Update:
        """One more version."""
        await asyncio.sleep(self.times.learn)
        self.version += 1
        return Update(version=self.version, metrics={"loss": 0.0})

    async def get_version(self) -> int:
        """Updates made."""
        return self.version

    async def weights(self) -> bytes:
        """None to speak of."""
        return b"weights"

    async def weights_size(self) -> int:
        """Their bytes."""
        return 7

    async def logprobs(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """What the engines say too."""
        return tuple(0.0 for _ in token_ids[1:])

    async def save(self, path: Path) -> None:
        """Nothing to keep."""

    async def export(self, path: Path) -> None:
        """Nothing to keep."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The sleeping pools of a run."""

    engines: list[Handle]
    browsers: list[Handle]
    critics: list[Handle]
    ranks: list[Handle]

    @classmethod
    def of(cls, settings: RunSettings, times: Times) -> "Cluster":
        """As many of each as the settings say."""

        def hired(kind: Callable[[Times, int], Sleeper], num: int) -> list[Handle]:
            return [Handle(kind(times, place)) for place in range(num)]

        engine = partial(SleepingEngine, at_once=settings.policy.max_num_seqs)
        return cls(
            engines=hired(engine, settings.policy.engines),
            browsers=hired(SleepingBrowser, settings.browser.count),
            critics=hired(SleepingCritic, settings.critic.count),
            ranks=hired(SleepingRank, settings.learner.ranks),
        )

    def learner(self) -> LearnerClient:
        """The learner and the engines it feeds."""
        return LearnerClient(self.ranks, self.engines, canary=CANARY, max_gap=1e-3, timeout_s=600)

    def worker(self, settings: RunSettings, path: Path, router: RouterClient | None = None) -> EpisodeWorker:
        """An episode worker on these pools, as `launch` makes it; with permits of a router if any."""

        def permits(pool: str) -> RoutedPermits | None:
            return RoutedPermits(router, pool) if router else None

        renderer = RendererClient(self.browsers, timeout_s=600, permits=permits("browser"))
        at_once, lost = critics_at_once(settings.critic), renderer.forget
        cast = EpisodeServices(
            policy=PolicyClient(self.engines, timeout_s=600, limit=CALLS, permits=permits("policy")),
            renderer=renderer,
            critic=CriticClient(self.critics, timeout_s=600, limit=at_once, lost=lost, permits=permits("critic")),
            score=partial(score, settings=settings.score),
        )
        return EpisodeWorker(cast, settings.episode, Store(path))
