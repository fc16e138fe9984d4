"""A training session: one process of a run, from set-up over training and recovery to shutdown."""

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.commands import program
from cluster.distributed.stop_signals import restore_handlers
from cluster.monitoring.display import Display
from cluster.monitoring.status_file import StatusFile
from cluster.paths import resolve_path
from cluster.preflight.requests import Plan, saved_state
from cluster.training.stage_times import StageClock
from cluster.training.state import RunState
from rollout.errors import MachineError, RelookError, StorageFault

if TYPE_CHECKING:
    from cluster.distributed.connection import Connection
    from cluster.distributed.run_actors import RunActors
    from cluster.monitoring.observer import Observer
    from cluster.preflight.model_proof import ProvenModel
    from cluster.training.curriculum import Curriculum
    from cluster.training.run import Run

RECOVERIES = 3
"""Times all actors may be launched again for one step before the run fails."""
SAVE_TIMEOUT_S = 2.0
"""Seconds for the last checkpoint (`ray job stop` kills after three); an unsaved step is learnt again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Results of the set-up, which outlive the actors."""

    observer: "Observer"
    model: Path
    """Directory of the initial policy."""
    curriculum: "Curriculum"
    proof: "ProvenModel"


class TrainingSession:
    """One process of a run."""

    def __init__(self, plan: Plan, display: Display) -> None:
        self.plan, self.display = plan, display
        self.clock = StageClock(plan.state.seconds)
        self.observer: Observer | None = None
        """None until MLflow is open."""
        self.status: StatusFile | None = None
        """None until the run's folder says that it is a run."""
        self.connection: Connection | None = None
        """None until Ray is connected."""
        self.actors: RunActors | None = None
        """The actors launched last; None before the first launch."""
        self.run: Run | None = None
        """None until actors have loaded the weights for the first time."""

    def note(self, text: str) -> None:
        """Reports an event to the observer, or only to the display before there is an observer."""
        (self.observer or self.display).note(text)

    async def work(self) -> None:
        """Sets up and trains; retries a step up to RECOVERIES times after machine faults, except StorageFault."""
        from cluster.training.loop import train

        setup = await self._set_up()
        state = self.plan.state
        observer = setup.observer
        lost_at = Counter[int]()
        self.display.stage("starting browsers, engines and learner")
        while True:
            try:
                self.actors = actors = await self._launch(setup)
                self.run = run = await self._load(setup, actors)
                with self.clock("train"):
                    await run_monitored(train(run), actors.monitor(observer.note, self._health))
                return
            except MachineError as fault:
                lost_at[state.step] += 1
                if isinstance(fault, StorageFault) or lost_at[state.step] > RECOVERIES or self.run is None:
                    raise
                await self._recover(fault)

    async def save_if_whole(self) -> None:
        """Saves a last checkpoint, unless the learner is ahead of the run's state: that step is learnt again anyway."""
        from cluster.training.loop import save

        state = self.plan.state
        if self.actors is None or self.run is None or state.step in self.plan.store.saved_steps():
            return
        try:
            async with asyncio.timeout(SAVE_TIMEOUT_S):
                if await self.actors.learner.version() == state.version:
                    await save(self.run)
        except (TimeoutError, RelookError) as error:
            self.note(f"no checkpoint of step {state.step} ({error!r}); resume learns it again")

    async def close(self, status: str) -> bool:
        """Publishes the results, stops every actor and disconnects from Ray. Returns whether all output was written."""
        try:
            if self.observer is not None:
                await asyncio.to_thread(self.observer.finish, status)
        except (StorageFault, OSError) as error:
            print(f"relook: the last report could not be written: {error}", file=sys.stderr)
            return False
        else:
            return True
        finally:
            if self.status is not None:
                await asyncio.to_thread(self.status.close, status)
            if self.actors is not None:
                self.display.stage("stopping the actors")
                await self.actors.close()
            if self.connection is not None:
                await asyncio.to_thread(self.connection.leave)

    async def _set_up(self) -> Setup:
        """Prepares MLflow, the model and its proof, Ray and reference pages."""
        from cluster.preflight import checks
        from cluster.preflight.model_proof import prove_model
        from cluster.preflight.references import check_with_actors
        from cluster.training.curriculum import Curriculum

        plan = self.plan
        settings = self.plan.settings
        self.display.stage("opening MLflow")
        self.observer = observer = await asyncio.to_thread(self._open_observer)
        self.status = StatusFile(plan.store, self.display.progress_now)
        self.display.note(f"to watch this run: {program('watch')} {plan.store.path}")
        for note in plan.notes:
            observer.note(note)
        model = await self._model()
        curriculum = plan.curriculum or Curriculum(settings)
        observer.data_sets(curriculum)
        if settings.model == "builtin":
            await asyncio.to_thread(checks.check_model, settings, model, curriculum)
        self.display.stage("proving that the learner computes the model's log-probs")
        with self.clock("setup"):
            proof = await prove_model(settings, model)
        observer.note(str(proof))
        await self._connect()
        if plan.resumed:
            observer.note(f"resumed after step {plan.state.step}")
        if files := checks.files(settings, curriculum):
            self.display.stage("checking the reference pages of task files")
            await check_with_actors(files, settings, self._checked)
        return Setup(observer=observer, model=model, curriculum=curriculum, proof=proof)

    def _open_observer(self) -> "Observer":
        from cluster.monitoring.observer import Observer
        from cluster.monitoring.tracking.tracker import open_tracker

        plan = self.plan
        tracker = open_tracker(plan.settings, plan.store, plan.run_id, plan.mlflow_run, self.note)
        return Observer(plan.settings, plan.store, plan.state, self.display, tracker, plan.run_id)

    def _health(self, pool: str, well: int, lost: int) -> None:
        """Reports the number of healthy and of lost actors of a pool to gauges and status."""
        if self.observer is not None:
            self.observer.gauges.health(pool, well, lost)
        if self.status is not None:
            self.status.health(pool, well, lost)

    async def _model(self) -> Path:
        from cluster.preflight.warm_start import warm_start

        settings = self.plan.settings
        if settings.model != "builtin":
            return resolve_path(settings.model)
        with self.clock("warm_start"):
            self.display.stage("warm start: the built-in policy, pre-trained once and kept")
            return await warm_start(settings, self.display)

    async def _connect(self) -> None:
        """Connects to Ray."""
        from cluster.distributed.connection import connect

        self.display.stage("starting Ray")
        with self.clock("setup"):
            self.connection = connection = await asyncio.to_thread(connect)
            restore_handlers()
        if connection.dashboard:
            key = f", its token is in {connection.token}" if connection.token else ""
            self.display.note(f"Ray dashboard: http://{connection.dashboard}{key}")

    def _checked(self, done: int, total: int) -> None:
        self.display.progress(done, total, "reference pages")

    async def _launch(self, setup: Setup) -> "RunActors":
        """Launches all actors."""
        from cluster.distributed import run_actors

        with self.clock("setup"):
            return await run_actors.launch_actors(
                self.plan.settings, setup.model, self.plan.store, packed=setup.proof.packed
            )

    async def _load(self, setup: Setup, actors: "RunActors") -> "Run":
        """Loads the current checkpoint into the actors."""
        from cluster.training.run import Run

        plan = self.plan
        with self.clock("setup"):
            if plan.state.step:
                await actors.learner.load(plan.store.checkpoint(plan.state.step))
            await actors.learner.sync()
        return Run(
            settings=plan.settings,
            curriculum=setup.curriculum,
            store=plan.store,
            workers=actors.workers,
            learner=actors.learner,
            observer=setup.observer,
            state=plan.state,
        )

    async def _recover(self, fault: MachineError) -> None:
        """Closes the actors and rewinds to the last checkpoint, as `--resume` would."""
        plan = self.plan
        if self.actors is not None:
            await self.actors.close()
        saved = plan.store.saved_steps()
        plan.state.rewind(saved_state(plan.store, saved[-1]) if saved else RunState())
        self.note(f"lost {fault}; restarting all actors after step {plan.state.step}")
        self.display.stage("starting browsers, engines and learner again")


async def run_monitored(work: Coroutine[Any, Any, None], monitor: Coroutine[Any, Any, None]) -> None:
    """Awaits `work`, unless `monitor`, which only ends by an exception, ends first."""
    tasks = [asyncio.create_task(work), asyncio.create_task(monitor)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
