"""Reads and writes files of tasks: Parquet or JSON lines, told apart by their suffix.

Columns: `id`, `brief`, and where a task has them `reference_html`, `probes` (a list of
`{"name", "steps": [{"kind", "selector", "value", "name"}]}`) and `checklist` (a list of texts).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from rollout.errors import TaskFileError
from rollout.files import write_aside
from rollout.records import Probe, ProbeStep, StepKind, Task, Viewport

COLUMNS = tuple(field.name for field in fields(Task))
KINDS: tuple[str, ...] = get_args(StepKind)
SUFFIXES = (".parquet", ".jsonl")
SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 60
"""Characters of an unusable value that an error quotes."""


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file, in its order. Raises TaskFileError in one line that says which row, and what to do."""
    suffix = _suffix(path)
    if not path.is_file():
        raise TaskFileError(f"{path}: no such task file; give a .parquet or .jsonl file, or `builtin`")
    rows = _parquet_rows(path) if suffix == ".parquet" else _json_rows(path)
    tasks: dict[str, Task] = {}
    for where, row in rows:
        task = _task(f"{path}, {where}", row)
        if task.id in tasks:
            raise TaskFileError(f"{path}, {where}: id {_show(task.id)} is taken by an earlier row; ids must differ")
        tasks[task.id] = task
    if not tasks:
        raise TaskFileError(f"{path}: the file holds no task; wanted at least one row")
    return list(tasks.values())


def write_tasks(path: Path, tasks: Sequence[Task]) -> None:
    """Writes tasks aside and renames the file to `path`. Raises TaskFileError for its suffix, else StorageFault."""
    if _suffix(path) == ".parquet":
        data = _parquet(tasks)
    else:
        data = "".join(f"{json.dumps(_row(task), ensure_ascii=False)}\n" for task in tasks).encode()
    write_aside(path, data)


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise TaskFileError(f"{path}: the suffix is {path.suffix!r}, wanted .parquet or .jsonl; rename or convert it")
    return path.suffix


def _row(task: Task) -> dict[str, Any]:
    """A task as JSON has it, without what it lacks."""
    row: dict[str, Any] = {"id": task.id, "brief": task.brief, "reference_html": task.reference_html}
    row |= {"probes": [asdict(probe) for probe in task.probes], "checklist": list(task.checklist)}
    row |= {"viewports": [str(viewport) for viewport in task.viewports]}
    return {name: value for name, value in row.items() if value}


def _parquet(tasks: Sequence[Task]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    step = pa.struct([(field.name, pa.string()) for field in fields(ProbeStep)])
    probe = pa.struct([("name", pa.string()), ("steps", pa.list_(step))])
    columns = [("id", pa.string()), ("brief", pa.string()), ("reference_html", pa.string())]
    texts = [(name, pa.list_(pa.string())) for name in ("checklist", "viewports")]
    schema = pa.schema([*columns, ("probes", pa.list_(probe)), *texts])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_row(task) for task in tasks], schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TaskFileError(
            f"{path}: cannot be read as Parquet ({reason}); it may be cut short: write it anew"
        ) from error
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{path}: byte {error.start} is not UTF-8 text; wanted JSON, one task a line") from error
    except OSError as error:
        raise TaskFileError(f"{path}: cannot be read ({error}); check its permissions") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TaskFileError(
                f"{path}, line {number}: not JSON ({error.msg} at character {error.pos + 1}); wanted one object a line"
            ) from error
        if not isinstance(row, dict):
            raise TaskFileError(f"{path}, line {number}: got {_show(row)}, wanted an object with `id` and `brief`")
        yield f"line {number}", row


def _task(where: str, row: dict[str, Any]) -> Task:
    """Checks one row. Nulls count as absent."""
    _known(where, row, COLUMNS)
    reference = row.get("reference_html")
    if reference is not None:
        reference = _text(where, row, "reference_html")
    checklist = _list(where, row, "checklist")
    for i, item in enumerate(checklist):
        _text(where, {f"checklist[{i}]": item}, f"checklist[{i}]")
    probes = _list(where, row, "probes")
    return Task(
        id=_text(where, row, "id"),
        brief=_text(where, row, "brief"),
        reference_html=reference,
        probes=tuple(_probe(f"{where}: probes[{i}]", probe) for i, probe in enumerate(probes)),
        checklist=tuple(checklist),
        viewports=_viewports(where, row),
    )


def _viewports(where: str, row: dict[str, Any]) -> tuple[Viewport, ...]:
    viewports: list[Viewport] = []
    for i, item in enumerate(_list(where, row, "viewports")):
        name = f"viewports[{i}]"
        try:
            viewport = Viewport.of(_text(where, {name: item}, name))
        except ValueError as error:
            raise TaskFileError(f"{where}: `{name}`: {error}") from None
        if viewport in viewports:
            raise TaskFileError(f"{where}: `{name}` is {viewport} like an earlier one; name each screen once")
        viewports.append(viewport)
    return tuple(viewports)


def _probe(where: str, value: Any) -> Probe:
    row = _object(where, value)
    _known(where, row, ("name", "steps"))
    steps = _list(where, row, "steps")
    if not steps:
        raise TaskFileError(f"{where}: `steps` is missing or empty, wanted at least one step")
    name = _text(where, row, "name")
    return Probe(name=name, steps=tuple(_step(f"{where}.steps[{i}]", step) for i, step in enumerate(steps)))


def _step(where: str, value: Any) -> ProbeStep:
    row = _object(where, value)
    _known(where, row, tuple(field.name for field in fields(ProbeStep)))
    kind = row.get("kind")
    if kind not in KINDS:
        raise TaskFileError(f"{where}: `kind` is {_show(kind)}, wanted one of {', '.join(KINDS)}")
    texts = {name: row[name] for name in ("selector", "value", "name") if row.get(name) is not None}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TaskFileError(f"{where}: `{name}` is {_show(text)}, wanted a text; put it in quotes")
    return ProbeStep(kind=kind, **texts)


def _known(where: str, row: dict[str, Any], names: tuple[str, ...]) -> None:
    unknown = [str(name) for name in row if name not in names]
    if unknown:
        raise TaskFileError(f"{where}: unknown column {_show(unknown[0])}, wanted only {', '.join(names)}; drop it")


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TaskFileError(f"{where}: got {_show(value)}, wanted an object")
    return value


def _list(where: str, row: dict[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TaskFileError(f"{where}: `{name}` is {_show(value)}, wanted a list")
    return value


def _text(where: str, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        raise TaskFileError(f"{where}: `{name}` is missing, wanted a text")
    if not isinstance(value, str) or not value.strip():
        raise TaskFileError(f"{where}: `{name}` is {_show(value)}, wanted a text that is not empty")
    if SURROGATE.search(value):
        raise TaskFileError(f"{where}: `{name}` holds half a character (a lone surrogate), wanted text; remove it")
    return value


def _show(value: Any) -> str:
    """A value on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
