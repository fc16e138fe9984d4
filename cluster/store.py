"""What a run leaves on disk: settings, trajectories as Parquet, pictures, metrics, the summary.

    runs/<run id>/
        run.json            id, MLflow run, code version, settings
        trajectories/       step-000001.parquet, …: one row an attempt
        shots/              <sha256>.png of the trajectories that are kept for the eye
        metrics.jsonl       one line a step
        checkpoints/        step-000010/, …
        summary.json  report.html

Every file is written aside and renamed: a reader, or a run that resumes, never sees half of one.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from cluster.rows import Row, group_rows, rows_groups, schema
from rollout.errors import CheckpointError, StorageFault
from rollout.files import write_aside
from rollout.records import Attempt, Group, Page, Render, Shot, Task, Trajectory

ROWS_AT_ONCE = 64
"""Of a table of which only the beginning is wanted."""


class Store:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trajectories = path / "trajectories"
        self.shots = path / "shots"
        self.checkpoints = path / "checkpoints"
        for folder in (self.trajectories, self.shots, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def create(cls, path: Path) -> "Store":
        """A new run's folder. Raises StorageFault when it cannot be made."""
        try:
            return cls(path)
        except OSError as error:
            raise StorageFault(f"cannot make {path}: {error.strerror or error}; choose another `runs`") from error

    @classmethod
    def open(cls, runs: Path, run: str) -> "Store":
        """An existing run, by its id or its path. Raises CheckpointError when there is none."""
        for path in (Path(run), runs / run):
            if (path / "run.json").is_file():
                return cls(path)
        known = sorted(path.parent.name for path in runs.glob("*/run.json"))[-5:]
        raise CheckpointError(f"no run {run!r} under {runs}; the newest are: {', '.join(known) or 'none'}")

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Writes one JSON file of the run. Raises StorageFault."""
        return write_aside(self.path / name, json.dumps(value, indent=1).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one JSON file of the run. Raises CheckpointError when it is missing or damaged."""
        path = self.path / name
        try:
            value = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: not readable ({error}); the run cannot go on from it") from None
        if not isinstance(value, dict):
            raise CheckpointError(f"{path}: wanted a JSON object, got {type(value).__name__}")
        return value

    def checkpoint(self, step: int) -> Path:
        """Where the learner's checkpoint of a step is kept."""
        return self.checkpoints / f"step-{step:06d}"

    def write_state(self, step: int, state: Mapping[str, Any], keep: int, spare: int | None = None) -> None:
        """Makes the checkpoint of a step whole, and drops all but the newest `keep` and that of the step `spare`."""
        self.write_json(f"checkpoints/step-{step:06d}.json", state)
        for old in set(self.saved_steps()[:-keep]) - {spare}:
            (self.checkpoints / f"step-{old:06d}.json").unlink()
            shutil.rmtree(self.checkpoint(old), ignore_errors=True)

    def saved_steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.checkpoints.glob("step-*.json"))

    def write_history(self, history: Iterable[Mapping[str, float]]) -> None:
        """The metrics of all steps so far, one JSON object a line."""
        write_aside(self.path / "metrics.jsonl", "".join(json.dumps(dict(row)) + "\n" for row in history).encode())

    def step_file(self, step: int) -> Path:
        """Where the trajectories of a step are kept."""
        return self.trajectories / f"step-{step:06d}.parquet"

    def exam_file(self, step: int) -> Path:
        """Where the trajectories of the exam after a step are kept."""
        return self.path / "exams" / f"exam-{step:06d}.parquet"

    def write_groups(self, step: int, groups: Sequence[Group]) -> Path:
        """Stores what a step learns from, before it learns from it. Raises StorageFault."""
        return write_groups(self.step_file(step), groups, step)

    def read_groups(self, step: int, most: int | None = None) -> list[Group] | None:
        """The groups of a step in their order, the first `most` of them, or None when the step was never stored.

        Raises CheckpointError.
        """
        path = self.step_file(step)
        return read_groups(path, most) if path.exists() else None

    def picture(self, sha256: str) -> bytes | None:
        """A kept screenshot as PNG, or None."""
        path = self.shots / f"{sha256}.png"
        return path.read_bytes() if path.exists() else None

    def keep_reference(self, html: str, render: Render) -> None:
        """Remembers which pictures show a task's reference page."""
        shots = [[shot.at_ms, shot.sha256, shot.width, shot.height, shot.label] for shot in render.shots]
        path = self.shots / f"{Page(html=html).sha256}.json"
        if not path.exists():
            write_aside(path, json.dumps(shots).encode(), durable=False)

    def reference(self, task: Task) -> Render | None:
        """The render of a task's reference page, as far as its pictures were kept."""
        page = Page(html=task.reference_html)
        path = self.shots / f"{page.sha256}.json"
        if task.reference_html is None or not path.exists():
            return None
        shots = json.loads(path.read_bytes())
        return Render(
            page_sha256=page.sha256,
            outcome="ok",
            shots=tuple(
                Shot(at_ms=at, sha256=sha, width=width, height=height, label="".join(label))
                for at, sha, width, height, *label in shots
            ),
        )

    def keep(self, shot: Shot, png: bytes) -> None:
        """Keeps a screenshot under its content hash."""
        path = self.shots / f"{shot.sha256}.png"
        if not path.exists():
            write_aside(path, png, durable=False)


def write_groups(path: Path, groups: Sequence[Group], step: int) -> Path:
    """Writes groups as a Parquet table, one row an attempt. Raises StorageFault."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for group in groups for row in group_rows(group, step)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), sink, compression="zstd")
    return write_aside(path, sink.getvalue().to_pybytes())


def read_groups(path: Path, most: int | None = None) -> list[Group]:
    """The groups of a Parquet table in their order, the first `most` of them. Raises CheckpointError for damage."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist() if most is None else _first_rows(path, most)
        return rows_groups(rows)[:most]
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error}); delete it to play this step again"
        ) from None


def _first_rows(path: Path, most: int) -> list[Row]:
    """The rows of the first `most` groups of a table and some more, without reading what comes after."""
    import pyarrow.parquet as pq

    rows: list[Row] = []
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            rows += batch.to_pylist()
            if len(list(groupby(rows, key=lambda row: row["task_id"]))) > most:
                break
    return rows


def without_pixels(trajectory: Trajectory) -> Trajectory:
    """The trajectory with its screenshots' hashes alone: pixels pass through neither driver nor learner."""
    turns = tuple(
        replace(turn, attempts=tuple(_without_pixels(attempt) for attempt in turn.attempts))
        for turn in trajectory.turns
    )
    return replace(trajectory, turns=turns)


def _without_pixels(attempt: Attempt) -> Attempt:
    if attempt.render is None:
        return attempt
    shots = tuple(replace(shot, picture=None) for shot in attempt.render.shots)
    return replace(attempt, render=replace(attempt.render, shots=shots))
