"""An acceptance: launches the actors of a run, measures one part after the other, and predicts the time of a step.

    nodes → model proof → judge → launch → weight sync → log-prob gap → generation → rendering → updates → a step
        → the longest sample

A fault in one part is the result of that part; the other parts are measured nevertheless.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cluster.acceptance import agreement, generation, learner, nodes, rendering, weight_sync, whole_step
from cluster.acceptance.measurement import Acceptance, Measurement, Prediction, failed
from cluster.distributed.stop_signals import restore_handlers
from cluster.paths import resolve_path
from cluster.preflight import checks, lengths
from cluster.preflight.model_proof import prove_model
from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.run import Run
from learner.builtin.warmstart import cached_policy
from learner.model_costs.shape import read_shape
from rollout.errors import RelookError
from rollout.prompts import first
from rollout.records import Task

if TYPE_CHECKING:
    from cluster.distributed.run_actors import RunActors

T = TypeVar("T")
GAP_TASKS = 8
"""Tasks whose prompts are compared between engine and learner."""
ANY_GAP = 1e9
"""Bound of the log-prob gap while it is measured, in nats: a large gap must not end the acceptance."""


class AcceptanceSession:
    """Measures a cluster with the settings of a run; `report` receives every measurement at once."""

    def __init__(
        self,
        settings: RunSettings,
        curriculum: Curriculum,
        store: Store,
        report: Callable[[Measurement], None],
        groups: int | None = None,
    ) -> None:
        """`groups`: groups of the measured step; None chooses them for a duration of minutes."""
        cluster = settings.cluster.model_copy(update={"max_logprob_gap": ANY_GAP})
        self.settings = settings
        self.launched = settings.model_copy(update={"cluster": cluster})
        self.curriculum = curriculum
        self.store = store
        self.report = report
        self.groups = groups
        self.found: list[Measurement] = []
        self.prediction: Prediction | None = None

    async def work(self) -> Acceptance:
        """Runs all measurements and stops all actors."""
        from cluster.distributed.connection import connect

        started = time.monotonic()
        model = await asyncio.to_thread(self._model)
        connection = await asyncio.to_thread(connect)
        restore_handlers()
        try:
            await self._part("nodes", self._nodes())
            await self._part("judge", self._judge())
            actors = await self._part("launch of all actors", self._launch(model))
            if actors is not None:
                try:
                    await self._measure(actors, model)
                finally:
                    await actors.close()
        finally:
            await asyncio.to_thread(connection.leave)
        return Acceptance(
            name=self.settings.name,
            measurements=tuple(self.found),
            prediction=self.prediction,
            seconds=time.monotonic() - started,
        )

    async def _measure(self, actors: "RunActors", model: Path) -> None:
        """Measures everything that needs actors, the risky part last."""
        settings = self.settings
        timeout_s = settings.cluster.call_timeout_s
        engine = actors.learner.engines.handles[0]
        asked = generation.first_requests(self._tasks(generation.num_requests(settings)), settings)
        pages = rendering.pages_of(self._tasks(rendering.PAGES + 1), self.store.path.name)
        synced = await self._part("weight sync", self._sync(actors))
        if synced is not None:
            gap = agreement.gaps_on_prompts(actors.learner, self._tasks(GAP_TASKS), settings)
            await self._part("log-prob gap, engine and learner", self._gap(gap, synced))
            made = generation.measure_generation(engine, asked, timeout_s)
            await self._part("generation of one engine", self._first(made))
        browser = next(pool for pool in actors.helpers if pool.name == "browser").handles[0]
        await self._part("rendering of one browser", self._one(rendering.measure_rendering(browser, pages, timeout_s)))
        speed = await self._part("updates of the learner", self._learner(actors, model))
        if synced is not None:
            await self._part("a whole step", self._step(actors, speed or 0.0))
        batch = learner.longest_sample(settings, lengths.context_of(settings, model))
        await self._part("the longest sample", self._one(learner.measure_longest(actors.learner, batch)))

    async def _part(self, what: str, work: Awaitable[T]) -> T | None:
        """The result of one part; None after a fault, which becomes the part's measurement."""
        try:
            return await work
        except RelookError as error:
            self._add(failed(what, error))
            return None

    def _add(self, *measurements: Measurement) -> None:
        for measurement in measurements:
            self.found.append(measurement)
            self.report(measurement)

    async def _one(self, work: Awaitable[Measurement]) -> None:
        self._add(await work)

    async def _first(self, work: Awaitable[tuple[Measurement, float]]) -> None:
        self._add((await work)[0])

    async def _nodes(self) -> None:
        from cluster.distributed.nodes import live_nodes

        self._add(*await nodes.measure_nodes(self.settings, live_nodes(), self.store.path / "nodes"))

    async def _judge(self) -> None:
        """Asks every judge that has an address one question."""
        asked = [one for one in self.settings.critic.members.values() if one.kind == "http" and one.base_url]
        if asked:
            started = time.monotonic()
            await asyncio.to_thread(checks.check_judges, self.settings)
            seconds = (time.monotonic() - started) / len(asked)
            self._add(Measurement(what="judge's answer", figure=seconds, unit="s", expected="a judgment", verdict="ok"))

    async def _launch(self, model: Path) -> "RunActors":
        """Proves the model, then launches and starts all actors."""
        from cluster.distributed.run_actors import launch_actors

        proof = await prove_model(self.settings, model)
        words = "packed samples are exact" if proof.packed else "packing is not exact: one sample a row, slower"
        self._add(
            Measurement(
                what="learner against transformers",
                figure=proof.gap,
                unit="nats",
                expected="exact but for rounding",
                verdict="ok" if proof.packed else "slow",
                advice=words,
            )
        )
        started = time.monotonic()
        actors = await launch_actors(self.launched, model, self.store, packed=proof.packed)
        self._add(
            Measurement(
                what="launch of all actors",
                figure=time.monotonic() - started,
                unit="s",
                expected=f"at most {self.settings.cluster.start_timeout_s:g} s (cluster.start_timeout_s)",
                verdict="ok",
            )
        )
        return actors

    async def _sync(self, actors: "RunActors") -> float:
        """Measures the weight sync. Returns the largest canary gap in nats."""
        measurement, _, gap = await weight_sync.measure_sync(actors.learner)
        self._add(measurement)
        return gap

    async def _gap(self, gaps: Awaitable[list[float]], canary: float) -> None:
        self._add(agreement.judge_gaps(await gaps, canary, self.settings.cluster.max_logprob_gap))

    async def _learner(self, actors: "RunActors", model: Path) -> float:
        """Measures updates. Returns tokens a second of all ranks."""
        asked = [first(task) for task in self._tasks(GAP_TASKS)]
        prompts = [len(await actors.learner.engines.ask_one(0, "prompt_ids", messages)) for messages in asked]
        found, speed = await learner.measure_learner(actors.learner, self.settings, read_shape(model), prompts)
        self._add(*found)
        return speed

    async def _step(self, actors: "RunActors", speed: float) -> None:
        """Measures a reduced step and predicts a whole one."""
        step = whole_step.reduced(self.settings, self.groups)
        run = Run(
            settings=step,
            curriculum=self.curriculum,
            store=self.store,
            workers=actors.workers,
            learner=actors.learner,
            observer=whole_step.SilentObserver(),
        )
        row = await whole_step.play_step(run)
        self._add(*whole_step.judge_step(row, step))
        costs, origin = whole_step.costs_of(row, step, self.settings, speed)
        self.prediction = whole_step.predict(costs, self.settings, origin)

    def _model(self) -> Path:
        """Directory of the initial policy; of the built-in one a barely trained copy, unless it is cached."""
        settings = self.settings
        if settings.model != "builtin":
            return resolve_path(settings.model)
        cached = cached_policy(settings.warm_start, resolve_path(settings.cache))
        short = settings.warm_start.model_copy(update={"steps": 2})
        return cached or warm_start_blocking(settings.model_copy(update={"warm_start": short}))

    def _tasks(self, num: int) -> Sequence[Task]:
        """The first training tasks of a run."""
        return [self.curriculum.task(1, place) for place in range(num)]
