"""Tests that a run killed at random file operations and resumed gives the same result as an undisturbed run.

The run uses paper actors and one process per life. Each kill (SIGKILL) happens at the n-th audited file operation in
the run's folder, drawn by seed, so kills fall between any two writes, renames and removals.
"""

import asyncio
import io
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doubles import Notebook, PaperCurriculum, PaperLearner, PaperPolicy, services, worker
from exact import differences

from cluster.monitoring.display import Display
from cluster.preflight.requests import Plan, plan_resume
from cluster.settings import RunSettings, check_settings
from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store
from cluster.training.loop import train
from cluster.training.metrics import batch_id
from cluster.training.run import Run
from cluster.training.session import TrainingSession
from cluster.training.state import RunState

KILLS = 10
STEPS = 9
TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
"""Audit events of file operations."""
PATIENCE_S = 120


def settings(runs: Path, staleness: int) -> RunSettings:
    fields: dict[str, Any] = {
        "name": "paper",
        "steps": STEPS,
        "groups": 4,
        "group_size": 3,
        "in_flight": 9,
        "refill": 0.5,
        "max_staleness": staleness,
        "runs": str(runs),
        "episode": {"rounds": 1, "attempts": 2, "max_tokens": 16},
        "exam": {"tasks": 12, "every": 3, "inference_tasks": 4},
        "checkpoint": {"every": 2, "keep": 2},
    }
    return check_settings(fields, "test")


def live(runs: Path, staleness: int, observed: bool, strike: int | None, touches: Any) -> None:
    """One process of the run: until the run's end, or until its n-th file operation."""

    def touch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(str(runs)):
            touches.value += 1
            if touches.value == strike:
                os.kill(os.getpid(), signal.SIGKILL)

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    begun = (runs / "paper" / "run.json").exists()
    if begun:
        sys.addaudithook(touch)
        plan = plan_resume("paper", runs)
    else:
        chosen = settings(runs, staleness)
        plan = Plan(settings=chosen, store=Store.create(runs / "paper"), state=RunState(), run_id="paper")
        plan.store.write_json("tasks.json", {})
    with Display(io.StringIO()) as display:
        session = TrainingSession(plan, display)
        if observed:
            session.observer = session._open_observer()
        else:
            session.observer = Notebook()
            plan.store.write_json("run.json", {"run_id": "paper", "settings": plan.settings.model_dump(mode="json")})
        if not begun:
            sys.addaudithook(touch)
        asyncio.run(go_on(plan, session.observer))
        if observed:
            session.observer.finish("finished")


async def go_on(plan: Plan, observer: Any) -> None:
    policy = PaperPolicy()
    run = Run(
        settings=plan.settings,
        curriculum=PaperCurriculum(),  # type: ignore[arg-type]
        store=plan.store,
        workers=worker(services(policy=policy), plan.settings.episode, plan.store),
        learner=PaperLearner(policy, lr=2.0),
        observer=observer,
        state=plan.state,
    )
    if plan.state.step:
        await run.learner.load(plan.store.checkpoint(plan.state.step))
        await run.learner.sync()
    await train(run)


@pytest.fixture(scope="module")
def nursery() -> Any:
    """Fork server with all modules loaded; the processes of the run are forked from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "test_kills",
            "mlflow",
            "cluster.monitoring.tracking.tracker",
            "cluster.monitoring.observer",
            "pyarrow.parquet",
        ]
    )
    return context


class Subject:
    """A run in its own folder, and its stored groups after each kill."""

    def __init__(self, runs: Path, nursery: Any, staleness: int, observed: bool) -> None:
        runs.mkdir()
        self.runs, self.nursery, self.staleness, self.observed = runs, nursery, staleness, observed
        self.batches: dict[int, int] = {}
        self.begun: set[tuple[int, int]] = set()
        self.finished: dict[tuple[int, int], int] = {}

    @property
    def store(self) -> Store:
        return Store(self.runs / "paper")

    @property
    def pending(self) -> PendingGroups:
        return PendingGroups(self.store, settings(self.runs, self.staleness).seed)

    def live(self, strike: int | None = None) -> tuple[int, int]:
        """Exit code of one process of the run (negative for a signal) and its number of file operations."""
        touches = self.nursery.Value("q", 0)
        arguments = (self.runs, self.staleness, self.observed, strike, touches)
        process = self.nursery.Process(target=live, args=arguments)
        process.start()
        process.join(PATIENCE_S)
        assert process.exitcode is not None, "no end"
        return process.exitcode, touches.value

    def look(self) -> None:
        """Check that all batches stored before the kill are unchanged."""
        for step, batch in self.stored().items():
            assert self.batches.setdefault(step, batch) == batch, f"step {step} was learnt from another batch before"
        for place in self.pending.places():
            self.begun.add(place)
            if (group := self.pending.take(place)) is not None:
                self.finished[place] = batch_id([group])

    def stored(self) -> dict[int, int]:
        steps = range(1, STEPS + 1)
        return {step: batch_id(groups) for step in steps if (groups := self.store.read_groups(step)) is not None}

    def state(self) -> RunState:
        return RunState.from_json(self.store.read_state(STEPS))


def strikes(touches: int, seed: int, num: int) -> Iterator[int]:
    """File operations until each kill; the kills are spread evenly over an undisturbed run."""
    draw = random.Random(f"kills {seed}")
    moments = sorted(draw.sample(range(1, touches), num))
    yield from (after - before for before, after in pairwise([0, *moments]))


def killed_and_whole(
    folder: Path, nursery: Any, staleness: int, *, observed: bool = False, kills: int = KILLS
) -> tuple[Subject, Subject]:
    """A run that was killed and resumed this many times, and an undisturbed run."""
    whole, killed = (Subject(folder / name, nursery, staleness, observed) for name in ("whole", "killed"))
    code, touches = whole.live()
    assert code == 0
    for strike in strikes(touches, staleness, kills):
        assert killed.live(strike)[0] == -signal.SIGKILL
        killed.look()
    assert killed.live()[0] == 0
    return killed, whole


def check_once(run: Subject) -> None:
    history, stored = run.state().history, run.stored()
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    assert [row["batch_id"] for row in history] == list(stored.values())
    assert run.batches.items() <= stored.items()
    groups = [group for step in stored for group in run.store.read_groups(step) or []]
    learnt = Counter(trajectory.id for group in groups for trajectory in group.trajectories)
    assert set(learnt.values()) == {1}, "an episode was learnt from twice"
    used = {batch_id([group]) for group in groups}
    again = [place for place, finished in run.finished.items() if finished not in used]
    seeds = {id_.rpartition("@")[2] for id_ in learnt}
    lost = [place for place in run.begun if str(run.pending.seed_of(place)) not in seeds]
    # Groups started for steps after the last are never used.
    lost = [place for place in lost if place[0] + run.staleness < STEPS]
    assert len(lost) <= sum(row["groups_given_up"] for row in history), f"groups that were begun are lost: {lost}"
    assert set(again) <= set(lost), f"groups that were finished were played again: {again}"
    assert run.finished.keys() < run.begun, "no kill found finished groups and others: this test saw nothing"
    assert run.state().history[-1]["staleness_max"] <= run.staleness
    assert run.store.saved_steps() == [STEPS - 1, STEPS]
    assert {path.name for path in run.store.checkpoints.glob("step-*/")} == {
        f"step-{s:06d}" for s in (STEPS - 1, STEPS)
    }


def check_same(killed: Subject, whole: Subject) -> None:
    mine, theirs = killed.state(), whole.state()
    gap, step, name = max(differences(mine.history, theirs.history))
    assert gap <= 1e-6, f"{name} of step {step} is {gap} apart"
    assert mine.exams == theirs.exams
    assert (mine.champion_step, mine.version) == (theirs.champion_step, theirs.version)
    for name in ("base", "self_edit", "with_critic"):
        assert mine.inference[name]["reward"] == theirs.inference[name]["reward"]
    for folder, file in ((f"checkpoints/step-{STEPS:06d}", "paper.json"), ("champion", "champion.json")):
        weights = [(one.store.path / folder / file).read_text() for one in (killed, whole)]
        assert weights[0] == weights[1]


def check_mlflow(run: Subject) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run.runs}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'paper'")
    (record,) = client.search_runs([experiment.experiment_id])
    assert record.info.status == "FINISHED"
    exams, steps = [exam.step for exam in run.state().exams], list(range(1, STEPS + 1))
    wanted = {
        "reward/best": steps,
        "learner/loss": steps,
        "time/step": steps,
        "exam/reward": exams,
        "exam/critique_agreement": exams,
    }
    for name, points in wanted.items():
        assert [point.step for point in client.get_metric_history(record.info.run_id, name)] == points, name
    registered = [int(version.tags["step"]) for version in client.search_model_versions("name = 'paper'")]
    assert len(registered) == len(set(registered))
    champion = client.get_model_version_by_alias("paper", "champion")
    assert int(champion.tags["step"]) == run.state().champion_step > 0


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_run_killed_ten_times_loses_and_repeats_nothing(tmp_path: Path, nursery: Any, staleness: int) -> None:
    killed, whole = killed_and_whole(tmp_path, nursery, staleness)
    check_once(killed)
    if staleness == 0:
        check_same(killed, whole)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_run_logs_each_step_exam_and_champion_to_mlflow_once(tmp_path: Path, nursery: Any) -> None:
    killed, whole = killed_and_whole(tmp_path, nursery, 0, observed=True, kills=5)
    check_once(killed)
    check_same(killed, whole)
    check_mlflow(killed)
