"""Requests of supervised fine-tuning: turns a command line into a checked plan before anything is launched."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.paths import resolve_path
from cluster.preflight import checks, lengths
from cluster.settings import RunSettings, check_settings, load_settings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum, libraries_of
from reward.designs import tasks as builtin_tasks
from rollout.errors import CheckpointError, TaskFileError
from rollout.records import Task
from rollout.rows.fields import show
from rollout.task_sets.split import split_by_brief
from rollout.tasks import read_tasks, write_tasks

TASKS = "tasks.parquet"
"""File of the run's tasks: a resumed run takes them from there."""


@dataclass(frozen=True, kw_only=True)
class SupervisedPlan:
    """A checked fine-tuning, new or resumed, that has not started yet."""

    settings: RunSettings
    store: Store
    run_id: str
    tasks: Sequence[Task]
    notes: tuple[str, ...] = ()
    mlflow_run: str | None = None
    resumed: bool = False

    @property
    def held_out(self) -> list[Task]:
        """The tasks that are not trained on."""
        return split_by_brief(self.tasks, self.settings.sft.held_out)[1]


def plan_new(path: Path, overrides: Sequence[str]) -> SupervisedPlan:
    """Plans a new fine-tuning after all checks that need no actors. Raises BadInput."""
    settings = load_settings(path, overrides)
    tasks, notes = chosen_tasks(settings)
    checks.check_judges(settings)
    if settings.model != "builtin" and settings.learner.lora_rank:
        lengths.measure(settings, resolve_path(settings.model), tasks[:1])
    run_id = f"{settings.name}-sft-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    store = Store.create(resolve_path(settings.runs) / run_id)
    write_tasks(store.path / TASKS, tasks)
    return SupervisedPlan(settings=settings, store=store, run_id=run_id, tasks=tasks, notes=notes)


def plan_resume(run: str, runs: Path) -> SupervisedPlan:
    """Plans the continuation of a stopped fine-tuning. Raises BadInput."""
    store = Store.open(resolve_path(runs), run)
    about = store.read_json("run.json")
    if not (store.path / TASKS).is_file():
        raise CheckpointError(f"{store.path}: no run of `relook sft`; resume it with `relook train --resume`")
    try:
        settings = check_settings(about["settings"], str(store.path / "run.json"))
        run_id = str(about["run_id"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{store.path}: not a run of this version ({error!r})") from None
    tasks = _with_libraries(read_tasks(store.path / TASKS), settings)
    plan = SupervisedPlan(settings=settings, store=store, run_id=run_id, tasks=tasks)
    return replace(plan, mlflow_run=about.get("mlflow_run"), resumed=True)


def chosen_tasks(settings: RunSettings) -> tuple[list[Task], tuple[str, ...]]:
    """The tasks of a fine-tuning, and warnings. Raises TaskFileError for tasks without references."""
    curriculum = Curriculum(settings)
    most = settings.sft.tasks
    if curriculum.file_tasks is None:
        tasks = builtin_tasks(most, seed=settings.seed, split="train")
    else:
        tasks = curriculum.file_tasks[:most]
    source = settings.task.source
    bare = [task.id for task in tasks if task.reference_html is None]
    if bare:
        raise TaskFileError(
            f"{source}: task {show(bare[0])} has no reference_html, which supervised fine-tuning trains on; add one, "
            "or remove the task"
        )
    training, _ = split_by_brief(tasks, settings.sft.held_out)
    if not training:
        raise TaskFileError(
            f"{source}: sft.held_out = {settings.sft.held_out:g} of {len(tasks)} tasks leaves none to train on; give "
            "tasks with at least two briefs"
        )
    notes = checks.shared_tasks(settings, tasks, curriculum.file_held_out or ())
    return _with_libraries(tasks, settings), notes


def _with_libraries(tasks: Sequence[Task], settings: RunSettings) -> list[Task]:
    libraries = libraries_of(settings.browser)
    return [replace(task, libraries=libraries) for task in tasks]
