"""Run requests: turns a command line into a checked plan before anything is launched."""

import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.paths import resolve_path
from cluster.settings import RunSettings, check_settings, load_settings
from cluster.storage.store import Store
from cluster.training.state import RunState
from rollout.errors import CheckpointError

TASKS = "tasks.json"
"""File of content hashes of the run's original task files."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked run, new or resumed, that has not started yet."""

    settings: RunSettings
    store: Store
    state: RunState
    run_id: str
    notes: tuple[str, ...] = ()
    """Warnings for the user, reported before the start."""
    curriculum: Any = None
    """The run's tasks, read once; None reads them when needed."""
    mlflow_run: str | None = None
    resumed: bool = False


def plan_new(path: Path, overrides: list[str]) -> Plan:
    """Plans a new run after all checks that need no actors. Raises BadInput."""
    from cluster.preflight import checks
    from cluster.training.curriculum import Curriculum

    settings = load_settings(path, overrides)
    curriculum = Curriculum(settings)
    notes = checks.check_tasks(settings, curriculum)
    if settings.model != "builtin":
        checks.check_model(settings, resolve_path(settings.model), curriculum)
    checks.check_judges(settings)
    run_id = f"{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    store = Store.create(resolve_path(settings.runs) / run_id)
    store.write_json(TASKS, checks.digests(settings, curriculum))
    return Plan(settings=settings, store=store, state=RunState(), run_id=run_id, notes=notes, curriculum=curriculum)


def plan_resume(run: str, runs: Path, changed_tasks: bool = False) -> Plan:
    """Plans a run that resumes from its newest complete checkpoint.

    Raises BadInput; `changed_tasks` allows changed task files.
    """
    from cluster.preflight import checks
    from cluster.training.curriculum import Curriculum

    store = Store.open(resolve_path(runs), run)
    about = store.read_json("run.json")
    try:
        settings = check_settings(about["settings"], str(store.path / "run.json"))
        run_id, mlflow_run = about["run_id"], about.get("mlflow_run")
        steps = store.saved_steps()
        state = saved_state(store, steps[-1]) if steps else RunState()
        state.events = store.events() or state.events
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{store.path}: not a run of this version ({error!r})") from None
    curriculum = Curriculum(settings)
    notes = (
        *checks.check_tasks(settings, curriculum),
        *_same_tasks(store, checks.digests(settings, curriculum), changed_tasks),
    )
    plan = Plan(settings=settings, store=store, state=state, run_id=run_id, notes=notes, curriculum=curriculum)
    return replace(plan, mlflow_run=mlflow_run, resumed=True)


def _same_tasks(store: Store, now: dict[str, dict[str, str]], may_change: bool) -> tuple[str, ...]:
    """Compares task files with those at the start of the run; returns warnings. Raises BadInput."""
    from cluster.preflight import checks

    if not (store.path / TASKS).is_file():
        return ()  # run of an older version
    before = store.read_json(TASKS)
    if not may_change:
        checks.check_unchanged(str(store.path), before, now)
    changed = checks.changes(before, now)
    store.write_json(TASKS, now)
    return (f"the run continues with changed tasks: {changed}",) if changed else ()


def saved_state(store: Store, step: int) -> RunState:
    """The run state of a checkpoint. Raises CheckpointError."""
    return RunState.from_json(store.read_state(step))
