"""Trains a policy: `python -m cluster.train deploy/runs/demo.toml [--set learner.lr=1e-4] [--resume RUN]`.

Exit codes: 0 finished; 2 bad input before the run began; 1 failed after that; 130 stopped.
"""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cluster.commands import program
from cluster.monitoring.display import Display
from cluster.paths import resolve_path
from cluster.preflight.requests import Plan, plan_new, plan_resume, saved_state
from cluster.settings import RunSettings
from cluster.training.state import RunState
from rollout.errors import (
    BadInput,
    BudgetSpent,
    CriticFault,
    MachineError,
    RelookError,
    StorageFault,
)

logger = logging.getLogger(__name__)
STOPPED = 130
RECOVERIES = 3
"""Times all actors may be launched again for one step before the run fails."""
SAVE_TIMEOUT_S = 2.0
"""Seconds for the last checkpoint (`ray job stop` kills after three); an unsaved step is learnt again."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    from cluster.preflight import checks

    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if options.resume:
            plan = plan_resume(options.resume, options.runs, options.changed_tasks)
            checks.check_judges(plan.settings)
        else:
            plan = plan_new(options.settings, options.set)
    except (BadInput, StorageFault, CriticFault) as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    return asyncio.run(run(plan))


async def run(plan: Plan) -> int:
    """Runs a plan from set-up to the last report and stops everything it started. Returns the exit code."""
    stop = _Stop()
    with Display() as display:
        session = TrainingSession(plan, display)
        work = asyncio.create_task(session.work())
        stop.cancels(work)
        try:
            await work
            code, status = 0, "finished"
        except asyncio.CancelledError:
            code, status = STOPPED, "stopped"
            await session.save_if_whole()
        except BudgetSpent as spent:
            code, status = STOPPED, "stopped"
            session.observer.note(f"stopped: {spent}")
            print(f"relook: {spent}", file=sys.stderr)
            await session.save_if_whole()
        except RelookError as error:
            code, status = (2 if session.run is None else 1), "failed"
            (session.observer or display).note(f"failed: {error}")
            print(f"relook: {error}", file=sys.stderr)
            logger.debug("the run failed", exc_info=True)
        except BaseException:
            await session.close("failed")
            raise
        if not await session.close(status) and code == 0:
            code, status = 1, "failed"
    session.farewell(status)
    return code


class TrainingSession:
    """One process of a run: set-up, training and shutdown."""

    def __init__(self, plan: Plan, display: Display) -> None:
        self.plan, self.display = plan, display
        self.started = time.monotonic()
        self.connection: Any = None
        self.crew: Any = None
        self.run: Any = None
        self.observer: Any = None
        self.proof: Any = None

    async def work(self) -> None:
        """Sets up and trains; retries a step up to RECOVERIES times after machine faults, except StorageFault."""
        from cluster.training.loop import train

        plan = self.plan
        model, curriculum = await self._prepare()
        self.display.stage("starting browsers, engines and learner")
        lost_at = Counter[int]()
        while True:
            try:
                await self._assemble(model, curriculum)
                with _timed(plan.state, "train"):
                    guard = self.crew.guard(self.observer.note, self.observer.gauges.health)
                    await watched(train(self.run), guard)
                return
            except MachineError as fault:
                lost_at[plan.state.step] += 1
                if isinstance(fault, StorageFault) or lost_at[plan.state.step] > RECOVERIES or self.run is None:
                    raise
                await self._recover(fault)

    async def _prepare(self) -> tuple[Path, Any]:
        """Prepares MLflow, the model and its proof, Ray and reference pages. Returns model directory and curriculum."""
        from cluster.distributed.connection import connect
        from cluster.preflight import checks
        from cluster.preflight.model_proof import prove_model
        from cluster.preflight.references import check_with_actors
        from cluster.training.curriculum import Curriculum

        plan, settings = self.plan, self.plan.settings
        self.display.stage("opening MLflow")
        self.observer = await asyncio.to_thread(self._observe)
        for note in plan.notes:
            self.observer.note(note)
        model = await self._model()
        curriculum = plan.curriculum or Curriculum(settings)
        if settings.model == "builtin":
            await asyncio.to_thread(checks.check_model, settings, model, curriculum)
        self.display.stage("proving that the learner computes what the model does")
        with _timed(plan.state, "setup"):
            self.proof = await prove_model(settings, model)
        self.observer.note(str(self.proof))
        self.display.stage("starting Ray")
        with _timed(plan.state, "setup"):
            self.connection = await asyncio.to_thread(connect)
        if self.connection.dashboard:
            key = f", its token is in {self.connection.token}" if self.connection.token else ""
            self.display.note(f"Ray dashboard: http://{self.connection.dashboard}{key}")
        if plan.resumed:
            self.observer.note(f"resumed after step {plan.state.step}")
        if files := checks.files(settings, curriculum):
            self.display.stage("checking the reference pages of task files")
            await check_with_actors(files, settings, self._checked)
        return model, curriculum

    def _checked(self, done: int, total: int) -> None:
        self.display.progress(done, total, "reference pages")

    async def _assemble(self, model: Path, curriculum: Any) -> None:
        """Launches the actors and loads the current checkpoint."""
        from cluster.distributed import launch
        from cluster.training.run import Run

        plan = self.plan
        with _timed(plan.state, "setup"):
            self.crew = await launch.hire(plan.settings, model, plan.store, packed=self.proof.packed)
            if plan.state.step:
                await self.crew.learner.load(plan.store.checkpoint(plan.state.step))
            await self.crew.learner.sync()
        self.run = Run(
            settings=plan.settings,
            curriculum=curriculum,
            store=plan.store,
            players=self.crew.players,
            learner=self.crew.learner,
            watcher=self.observer,
            state=plan.state,
        )

    async def _recover(self, fault: MachineError) -> None:
        """Closes the actors and rewinds to the last checkpoint, as `--resume` would."""
        plan = self.plan
        await self.crew.close()
        saved = plan.store.saved_steps()
        plan.state.rewind(saved_state(plan.store, saved[-1]) if saved else RunState())
        self.observer.note(f"lost {fault}; a new crew goes on after step {plan.state.step}")
        self.display.stage("starting browsers, engines and learner again")

    def _observe(self) -> Any:
        from cluster.monitoring.mlflow_tracker import Tracker, code_version
        from cluster.monitoring.observer import Observer

        plan, runs = self.plan, self.plan.store.path.parent

        def note(text: str) -> None:
            self.observer.note(text)

        tracker = Tracker(plan.settings, runs, plan.run_id, plan.mlflow_run, note)
        plan.store.write_json(
            "run.json",
            {
                "run_id": plan.run_id,
                "mlflow_run": tracker.run,
                "code_version": code_version(),
                "settings": plan.settings.model_dump(mode="json"),
            },
        )
        return Observer(plan.settings, plan.store, plan.state, self.display, tracker, plan.run_id)

    async def _model(self) -> Path:
        settings = self.plan.settings
        if settings.model != "builtin":
            return resolve_path(settings.model)
        with _timed(self.plan.state, "warm_start"):
            self.display.stage("warm start: the built-in policy, pre-trained once and kept")
            return await warm_start(settings, self.display)

    async def save_if_whole(self) -> None:
        """Saves a last checkpoint, unless the learner is ahead of the run's state: that step is learnt again anyway."""
        from cluster.training.loop import save

        if self.run is None or self.plan.state.step in self.plan.store.saved_steps():
            return
        try:
            async with asyncio.timeout(SAVE_TIMEOUT_S):
                if await self.crew.learner.version() == self.plan.state.version:
                    await save(self.run)
        except (TimeoutError, RelookError) as error:
            self.observer.note(f"no checkpoint of step {self.plan.state.step} ({error!r}); resume learns it again")

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
            if self.crew is not None:
                self.display.stage("ending the actors")
                await self.crew.close()
            if self.connection is not None:
                await asyncio.to_thread(self.connection.leave)

    def farewell(self, status: str) -> None:
        """Prints the paths of the results and the command to resume."""
        from cluster.monitoring.observer import where

        store = self.plan.store
        print(f"\n{self.plan.run_id}: {status} after {time.monotonic() - self.started:.0f} s")
        print(f"  report   {where(store, 'report.html')}")
        print(f"  summary  {where(store, 'summary.json')}")
        print(f"  MLflow   mlflow ui --backend-store-uri sqlite:///{where(store, '..').resolve()}/mlflow.db")
        if status != "finished":
            print(f"  go on    python -m cluster.train --resume {self.plan.run_id}")


async def watched(work: Coroutine[Any, Any, None], guard: Coroutine[Any, Any, None]) -> None:
    """Awaits `work`, unless `guard`, which only ends by an exception, ends first."""
    tasks = [asyncio.create_task(work), asyncio.create_task(guard)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()


async def warm_start(settings: RunSettings, display: Display) -> Path:
    """Directory of the built-in policy; pre-trained in a separate process unless cached."""
    cache = resolve_path(settings.cache)
    command = [sys.executable, "-m", "learner.builtin.warmstart", "--cache", str(cache)]
    command += ["--settings", settings.warm_start.model_dump_json()]
    # The display shows progress; the library's progress bars would overwrite it.
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    root = Path(__file__).parent.parent
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=root, env=environment)
    assert process.stdout is not None, "stdout is a pipe"
    last = ""
    try:
        async for line in process.stdout:
            last = line.decode().strip()
            done, slash, rest = last.partition("/")
            total, _, loss = rest.partition(" ")
            if slash and done.isdigit() and total.isdigit():
                display.progress(int(done), int(total), f"warm start, loss {loss}")
        if await process.wait() != 0:
            raise RelookError(f"the warm start failed with exit code {process.returncode}; its last line: {last!r}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Path(last)


class _timed:  # noqa: N801 - reads as a verb
    """Context manager that adds a block's wall seconds to the run state, also when the block raises."""

    def __init__(self, state: RunState, name: str) -> None:
        self.state, self.name = state, name

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        before = self.state.seconds.get(self.name, 0.0)
        self.state.seconds[self.name] = before + time.monotonic() - self.started


class _Stop:
    """Cancels a task on the first Ctrl-C or SIGTERM; a second Ctrl-C has Python's default effect."""

    def cancels(self, work: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            loop.remove_signal_handler(number)
            work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("train"), description="Trains a policy to write web pages.")
    parser.add_argument("settings", nargs="?", type=Path, help="a TOML file such as deploy/runs/demo.toml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run, by its id or path")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs, for --resume")
    parser.add_argument("--changed-tasks", action="store_true", help="with --resume: go on though task files changed")
    options = parser.parse_args(argv)
    if (options.settings is None) == (options.resume is None):
        parser.error("give a settings file, or --resume RUN (which brings its own settings)")
    return options


if __name__ == "__main__":
    sys.exit(main())
