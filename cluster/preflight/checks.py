"""Checks of settings and tasks before a run launches any actor; each failure is a one-line error."""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.preflight import lengths
from cluster.settings import RunSettings
from cluster.training.curriculum import Curriculum
from rollout.errors import SettingsError, TaskFileError
from rollout.records import Task
from rollout.tasks import digest


def check_tasks(settings: RunSettings, curriculum: Curriculum) -> tuple[str, ...]:
    """Checks tasks against the settings. Returns warnings. Raises TaskFileError."""
    exam = curriculum.held_out(settings.exam.tasks)
    table = curriculum.held_out(settings.exam.inference_tasks, "exam.inference_tasks")
    check_references([*(curriculum.file_tasks or ()), *exam, *table], settings)
    return shared_tasks(settings, curriculum.file_tasks or (), exam)


def check_judges(settings: RunSettings) -> None:
    """Sends one test question to every judge that has an address. Raises SettingsError, or CriticFault for no answer.

    Skips judges whose key is missing here when RAY_ADDRESS is set: the key may exist only on the cluster's nodes.
    """
    from actors.judge_api.trial_question import ask_judge

    for judge in settings.critic.members.values():
        elsewhere = judge.key_env and judge.key_env not in os.environ and "RAY_ADDRESS" in os.environ
        if judge.kind == "http" and judge.base_url and not elsewhere:
            asyncio.run(ask_judge(judge))


def check_references(tasks: Sequence[Task], settings: RunSettings) -> None:
    """Raises TaskFileError for a task without the reference that the critic needs."""
    bare = [task.id for task in tasks if task.reference_html is None]
    if bare and any(judge.kind == "visual" for judge in settings.critic.members.values()):
        raise TaskFileError(
            f"task {bare[0]!r} has no reference_html, which the visual critic needs; add one, or remove the task"
        )


def shared_tasks(settings: RunSettings, training: Sequence[Task], exam: Sequence[Task]) -> tuple[str, ...]:
    """Warns when exam tasks are also training tasks. This is no error, as memorising a few tasks is the usual first
    test of a set-up; but such an exam does not measure generalisation, and it selects the champion.
    """
    briefs = {" ".join(task.brief.split()) for task in training}
    shared = [task.id for task in exam if " ".join(task.brief.split()) in briefs]
    if not shared:
        return ()
    return (
        f"WARNING: {len(shared)} of {len(exam)} exam tasks are training tasks (such as {shared[0]!r}): their rewards "
        f"are not held-out figures; set task.held_out to other tasks than {settings.task.source}",
    )


def check_model(settings: RunSettings, model: Path, curriculum: Curriculum) -> None:
    """Checks that prompts fit the model and that adapters have layers in it. Raises SettingsError or TaskFileError."""
    training = curriculum.file_tasks if curriculum.file_tasks is not None else first_tasks(settings, curriculum)
    most = max(settings.exam.tasks, settings.exam.inference_tasks)
    tasks = [*training, *curriculum.held_out(most)]
    lengths.check_prompts(settings, model, lengths.measure(settings, model, tasks))


def first_tasks(settings: RunSettings, curriculum: Curriculum) -> list[Task]:
    """The first built-in training tasks of a run (about MOST_BUILTIN)."""
    steps = min(settings.steps, max(1, lengths.MOST_BUILTIN // settings.groups))
    return [curriculum.task(step, place) for step in range(1, steps + 1) for place in range(settings.groups)]


def files(settings: RunSettings, curriculum: Curriculum) -> dict[str, list[Task]]:
    """The tasks of each task file that the run uses, by path."""
    found: dict[str, list[Task]] = {}
    if curriculum.file_tasks is not None:
        found[settings.task.source] = curriculum.file_tasks
    if curriculum.file_held_out is not None:
        held_out = curriculum.held_out(max(settings.exam.tasks, settings.exam.inference_tasks))
        if found.get(settings.task.held_out) is None:
            found[settings.task.held_out] = held_out
    return found


def digests(settings: RunSettings, curriculum: Curriculum) -> dict[str, dict[str, str]]:
    """Content hashes of the tasks of `task.source` and `task.held_out`, by id in file order; `builtin` is omitted."""
    sources = {"task.source": curriculum.file_tasks, "task.held_out": curriculum.file_held_out}
    return {name: {task.id: digest(task) for task in tasks} for name, tasks in sources.items() if tasks is not None}


def changes(before: Mapping[str, Any], now: Mapping[str, Mapping[str, str]]) -> str:
    """Describes in one line how task files differ from those at the start of the run; empty when they do not."""
    said = []
    for name, tasks in now.items():
        were: dict[str, str] = before.get(name, {})
        counted = Counter(
            "added" if key not in were else "changed" for key in tasks if were.get(key) != tasks[key]
        ) + Counter("removed" for key in were if key not in tasks)
        if not counted and list(were) != list(tasks):
            counted["in another order"] = len(tasks)
        if counted:
            said.append(f"{name}: {', '.join(f'{num} tasks {how}' for how, num in counted.items())}")
    return "; ".join(said)


def check_unchanged(path: str, before: Mapping[str, Any], now: Mapping[str, Mapping[str, str]]) -> None:
    """Checks that a resumed run has the same tasks. Raises SettingsError when they changed."""
    changed = changes(before, now)
    if changed:
        raise SettingsError(
            f"{path}: the task files have changed since the run began ({changed}); restore them, or pass "
            "--changed-tasks to continue with the changed tasks"
        )
