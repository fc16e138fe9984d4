"""Reads and writes task files: Parquet or JSON, chosen by the suffix.

Columns: `id`, `brief`, and optionally

- `reference_html`;
- `probes`: a list of `{"name", "steps": [{"kind", "selector", "value", "name"}], "fresh"}`, a step with any field of
  `ProbeStep`;
- `checklist`: a list of texts;
- `viewports`: a list of sizes.

A JSON file contains one object a line, objects over several lines, or one array of objects.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rollout.errors import TaskFileError
from rollout.files import atomic_write
from rollout.probes import probe_of, probe_row
from rollout.records import ProbeStep, Task, Viewport
from rollout.rows.fields import Row, check_names, id_of, list_of, show, text_of
from rollout.rows.file_rows import file_rows

COLUMNS = tuple(field.name for field in fields(Task))
SUFFIXES = (".parquet", ".jsonl", ".json")


def read_tasks(path: Path) -> list[Task]:
    """Reads the tasks of a file in order. Raises TaskFileError with one line that names the row and the fix."""
    _suffix(path)  # raises for an unknown one
    if not path.is_file():
        raise TaskFileError(f"{path}: no such task file; give a .parquet or .jsonl file, or `builtin`")
    tasks: dict[str, Task] = {}
    for where, row in file_rows(path):
        task = task_of(f"{path}, {where}", row)
        if task.id in tasks:
            raise TaskFileError(f"{path}, {where}: id {show(task.id)} is taken by an earlier row; ids must differ")
        tasks[task.id] = task
    if not tasks:
        raise TaskFileError(f"{path}: the file has no tasks, wanted at least one row")
    return list(tasks.values())


def write_tasks(path: Path, tasks: Sequence[Task]) -> None:
    """Writes tasks atomically. Raises TaskFileError for an unknown suffix, StorageFault when writing fails."""
    if _suffix(path) == ".parquet":
        data = _parquet(tasks)
    else:
        data = "".join(f"{json.dumps(_row(task), ensure_ascii=False)}\n" for task in tasks).encode()
    atomic_write(path, data)


def digest(task: Task) -> str:
    """Content hash of a task, independent of the file's layout."""
    return hashlib.sha256(json.dumps(_row(task), sort_keys=True).encode()).hexdigest()[:16]


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise TaskFileError(f"{path}: the suffix is {path.suffix!r}, wanted .parquet or .jsonl; rename or convert it")
    return path.suffix


def _row(task: Task) -> Row:
    """A task as a JSON object, without empty fields."""
    row: Row = {"id": task.id, "brief": task.brief, "reference_html": task.reference_html}
    row |= {"probes": [probe_row(probe) for probe in task.probes], "checklist": list(task.checklist)}
    row |= {"viewports": [str(viewport) for viewport in task.viewports]}
    return {name: value for name, value in row.items() if value}


def _parquet(tasks: Sequence[Task]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = {"nth": pa.int64(), "exact": pa.bool_(), "negated": pa.bool_()}
    used = {name for task in tasks for probe in task.probes for step in probe.steps for name in step.options()}
    names = [field.name for number, field in enumerate(fields(ProbeStep)) if number < 4 or field.name in used]
    step = pa.struct([(name, options.get(name, pa.string())) for name in names])
    fresh = [("fresh", pa.bool_())] if any(probe.fresh for task in tasks for probe in task.probes) else []
    probe = pa.struct([("name", pa.string()), ("steps", pa.list_(step)), *fresh])
    columns = [("id", pa.string()), ("brief", pa.string()), ("reference_html", pa.string())]
    texts = [(name, pa.list_(pa.string())) for name in ("checklist", "viewports")]
    schema = pa.schema([*columns, ("probes", pa.list_(probe)), *texts])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_row(task) for task in tasks], schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def task_of(where: str, row: Row) -> Task:
    """Validates one row and returns its task. Nulls count as absent. Raises TaskFileError that begins with `where`."""
    check_names(where, row, COLUMNS)
    reference = row.get("reference_html")
    if reference is not None:
        reference = text_of(where, row, "reference_html")
    checklist = list_of(where, row, "checklist")
    for i, item in enumerate(checklist):
        text_of(where, {f"checklist[{i}]": item}, f"checklist[{i}]")
    probes = list_of(where, row, "probes")
    return Task(
        id=id_of(where, row),
        brief=text_of(where, row, "brief"),
        reference_html=reference,
        probes=tuple(probe_of(f"{where}: probes[{i}]", probe) for i, probe in enumerate(probes)),
        checklist=tuple(checklist),
        viewports=_viewports(where, row),
    )


def _viewports(where: str, row: dict[str, Any]) -> tuple[Viewport, ...]:
    viewports: list[Viewport] = []
    for i, item in enumerate(list_of(where, row, "viewports")):
        name = f"viewports[{i}]"
        try:
            viewport = Viewport.of(text_of(where, {name: item}, name))
        except ValueError as error:
            raise TaskFileError(f"{where}: `{name}`: {error}") from None
        if viewport in viewports:
            raise TaskFileError(f"{where}: `{name}` is {viewport}, like an earlier one; list each viewport once")
        viewports.append(viewport)
    return tuple(viewports)
