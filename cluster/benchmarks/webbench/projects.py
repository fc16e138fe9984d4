"""Reads the static projects of a clone of Web-Bench: tasks, specifications, first files, reference."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollout.errors import TaskFileError
from rollout.rows.fields import object_of, text_of
from rollout.rows.json_rows import json_rows

PROJECTS = (
    "bom",
    "calculator",
    "calculator-files",
    "color",
    "dom",
    "dom1",
    "esmodule",
    "flex",
    "float",
    "form",
    "grid",
    "selector",
    "survey",
    "table",
)
"""The projects of plain files: their pages need no build, no packages and no network."""
FILES = "a clone of bytedance/web-bench, with projects/<name>/{tasks.jsonl or tasks.yml, src-init, src, test}"
NUM_TASKS = 20
INIT = "init"
"""Id of the task that writes the first files; some projects have none and begin with the files of src-init."""
COMPUTED_IMPORT = re.compile(r"(?<![\w.])import\(\s*(?!['\"`\s])")
"""An import of a path that a specification computes: a file of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTask:
    """One task of a project. Example: `ProjectTask(id="task-1", description="add a button …")`."""

    id: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project: its tasks in order, and its files by relative path."""

    name: str
    tasks: tuple[ProjectTask, ...]
    """The task `init` if there is one, then task-1 to task-20."""
    initial: Mapping[str, str] = field(repr=False)
    """The files of src-init."""
    reference: Mapping[str, str] = field(repr=False)
    """The files of src: the solution after the last task."""
    harness: Mapping[str, bytes] = field(repr=False)
    """package.json and the files below test."""

    def specs(self, task: str) -> tuple[str, ...]:
        """Paths of the specifications that hold after a task: that of `init`, then those up to the task's."""
        num = 0 if task == INIT else int(task.removeprefix("task-"))
        return (spec_path(INIT), *(spec_path(f"task-{number}") for number in range(1, num + 1)))

    def imports_answer(self, spec: str) -> bool:
        """Whether a specification imports files of the answer into its own process."""
        return COMPUTED_IMPORT.search(self.harness[spec].decode("utf-8", "replace")) is not None


def spec_path(task: str) -> str:
    """Path of a task's specification."""
    return f"test/{task}.spec.js"


def read_projects(source: Path) -> tuple[Project, ...]:
    """The static projects of a clone. Raises TaskFileError when it lacks some of them, or parts of one."""
    missing = [name for name in PROJECTS if not (source / "projects" / name).is_dir()]
    if missing:
        raise TaskFileError(
            f"{source}: {len(missing)} of {len(PROJECTS)} projects are missing ({', '.join(missing[:3])}); "
            f"wanted {FILES}"
        )
    return tuple(_project(source / "projects" / name) for name in PROJECTS)


def digest_of(projects: tuple[Project, ...]) -> str:
    """Hash of everything that was read, in hexadecimal."""
    digest = hashlib.sha256()
    for project in projects:
        for task in project.tasks:
            digest.update(f"{project.name}\0{task.id}\0{task.description}\0".encode())
        for files in (project.initial, project.reference):
            for path, text in files.items():
                digest.update(f"{path}\0{text}\0".encode())
        for path, content in project.harness.items():
            digest.update(path.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def _project(folder: Path) -> Project:
    tasks = tuple(_tasks(folder))
    numbered = [task.id for task in tasks if task.id != INIT]
    wanted = [f"task-{number}" for number in range(1, NUM_TASKS + 1)]
    if numbered != wanted or INIT in [task.id for task in tasks[1:]]:
        raise TaskFileError(
            f"{folder}: its tasks are {', '.join(task.id for task in tasks[:3])} … ({len(tasks)}), "
            f"wanted task-1 to task-{NUM_TASKS} in order, with or without {INIT} before them"
        )
    harness = {f"test/{path}": content for path, content in _files(folder / "test").items()}
    absent = [spec_path(task) for task in (INIT, *wanted) if spec_path(task) not in harness]
    if absent:
        raise TaskFileError(f"{folder}: {absent[0]} is missing; wanted {FILES}")
    package = folder / "package.json"
    if package.is_file():
        harness["package.json"] = package.read_bytes()
    return Project(
        name=folder.name,
        tasks=tasks,
        initial=_texts(folder / "src-init"),
        reference=_texts(folder / "src"),
        harness=harness,
    )


def _tasks(folder: Path) -> Iterator[ProjectTask]:
    for where, row in _rows(folder):
        yield ProjectTask(id=text_of(where, row, "id"), description=text_of(where, row, "description"))


def _rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each task's row and its position."""
    import yaml

    if (folder / "tasks.jsonl").is_file():
        path = folder / "tasks.jsonl"
        yield from ((f"{path}, {where}", row) for where, row in json_rows(path))
        return
    path = folder / "tasks.yml"
    if not path.is_file():
        raise TaskFileError(f"{folder}: neither tasks.jsonl nor tasks.yml is there; wanted {FILES}")
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TaskFileError(f"{path}: not YAML ({' '.join(str(error).split())}); clone the repository again") from error
    if not isinstance(rows, list):
        raise TaskFileError(f"{path}: wanted a list of tasks; clone the repository again")
    yield from ((f"{path}, item {number}", object_of(str(path), row)) for number, row in enumerate(rows, start=1))


def _files(folder: Path) -> dict[str, bytes]:
    """The files below a folder by relative path. Raises TaskFileError when there are none, or one is a link."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise TaskFileError(f"{path}: it is a link, wanted a file; clone the repository again")
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    if not found:
        raise TaskFileError(f"{folder}: no such folder, or it is empty; wanted {FILES}")
    return found


def _texts(folder: Path) -> dict[str, str]:
    try:
        return {path: content.decode("utf-8") for path, content in _files(folder).items()}
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{folder}: a file is not UTF-8 text ({error}); clone the repository again") from error
