"""Run store: settings, trajectories as Parquet, screenshots, metrics and summary of a run on disk.

    runs/<run id>/
        run.json            id, MLflow run, code version, settings
        trajectories/       step-000001.parquet, …: one row per attempt
        shots/              <sha256>.png of trajectories kept for the report
        unlearnt/           groups that were started and belong to no step yet; one table per finished group
        exams/              exam-000010.parquet, and reviews-000010.json: feedback of policy and critic on its pages
        metrics.jsonl       one line per step
        costs/              critic-0.json, …: cost of judges called over HTTP
        checkpoints/        step-000010/, … of the learner, and step-000010.json of the run, which completes it
        events.txt          one line per event
        status.json         current stage, progress and actors, written every second while the run goes on
        summary.json  report.html

Files are written atomically (temporary file, then rename), except `events.txt`, which is appended to: no reader or
resumed run sees a partial file.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from cluster.storage.trajectory_table import TableRow, group_rows, rows_groups, schema
from reward.agreement import Pair
from rollout.errors import CheckpointError, StorageFault
from rollout.files import atomic_write
from rollout.records import Attempt, Group, Page, Render, Shot, Task, Trajectory

logger = logging.getLogger(__name__)
EVENTS = "events.txt"
CHECKSUM = "sha256"
"""Key of the checksum of the rest of a state."""
ROWS_AT_ONCE = 64
"""Batch size in rows for reading the beginning of a table."""
TEMPORARY_SUFFIX = ".arrow"
"""Suffix of temporary tables, written as uncompressed Arrow."""


class Store:
    """The folder of one run, with its readers and writers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trajectories = path / "trajectories"
        self.shots = path / "shots"
        self.checkpoints = path / "checkpoints"
        self.costs = path / "costs"
        self.unlearnt = path / "unlearnt"
        for folder in (self.trajectories, self.shots, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def create(cls, path: Path) -> "Store":
        """Creates a new run's folder. Raises StorageFault when that fails."""
        try:
            return cls(path)
        except OSError as error:
            raise StorageFault(f"cannot create {path}: {error.strerror or error}; choose another `runs`") from error

    @classmethod
    def open(cls, runs: Path, run: str) -> "Store":
        """Opens an existing run by its id or path. Raises CheckpointError when there is none."""
        for path in (Path(run), runs / run):
            if (path / "run.json").is_file():
                return cls(path)
        known = sorted(path.parent.name for path in runs.glob("*/run.json"))[-5:]
        raise CheckpointError(f"no run {run!r} under {runs}; the newest are: {', '.join(known) or 'none'}")

    def write_json(self, name: str, value: Mapping[str, Any], *, durable: bool = True) -> Path:
        """Writes one JSON file of the run. Raises StorageFault."""
        return atomic_write(self.path / name, json.dumps(value, indent=1).encode(), durable=durable)

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one JSON file of the run. Raises CheckpointError when it is missing or damaged."""
        path = self.path / name
        try:
            value = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: not readable ({error})") from None
        if not isinstance(value, dict):
            raise CheckpointError(f"{path}: wanted a JSON object, got {type(value).__name__}")
        return value

    def checkpoint(self, step: int) -> Path:
        """Folder of the learner's checkpoint of a step."""
        return self.checkpoints / f"step-{step:06d}"

    def write_state(self, step: int, state: Mapping[str, Any], keep: int, spare: int | None = None) -> None:
        """Completes the checkpoint of a step; deletes all but the newest `keep` and that of the step `spare`."""
        self.write_json(self._state_name(step), {**state, CHECKSUM: _checksum(state)})
        for old in set(self.saved_steps()[:-keep]) - {spare}:
            (self.checkpoints / f"step-{old:06d}.json").unlink()
        whole = {self.checkpoint(saved) for saved in self.saved_steps()}
        for path in set(self.checkpoints.glob("step-*/")) - whole:  # Some were left by killed runs.
            shutil.rmtree(path, ignore_errors=True)

    def read_state(self, step: int) -> dict[str, Any]:
        """Reads a state written by `write_state`.

        Raises CheckpointError when it is damaged, naming the newest intact one before it.
        """
        state, problem = self._state(step)
        if problem:
            older = (old for old in reversed(self.saved_steps()) if old < step and not self._state(old)[1])
            before = next(older, None)
            here = f"remove {self.checkpoint(step)}*"
            advice = f"no earlier checkpoint is intact; {here} to learn from the stored steps again"
            if before is not None:
                advice = f"{here} to continue from {self.checkpoint(before).name}, the newest intact one before it"
            raise CheckpointError(f"{problem}; {advice}")
        return state

    def _state(self, step: int) -> tuple[dict[str, Any], str]:
        """A state and its problem; the problem is empty when the state is intact."""
        name = self._state_name(step)
        try:
            state = self.read_json(name)
        except CheckpointError as error:
            return {}, str(error)
        found, wanted = state.pop(CHECKSUM, None), _checksum(state)
        return state, "" if found == wanted else f"{self.path / name}: its checksum is {wanted}, not {found}"

    @staticmethod
    def _state_name(step: int) -> str:
        return f"checkpoints/step-{step:06d}.json"

    def saved_steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.checkpoints.glob("step-*.json"))

    def write_history(self, history: Iterable[Mapping[str, float]]) -> None:
        """Writes the metrics of all steps so far, one JSON object per line."""
        atomic_write(self.path / "metrics.jsonl", "".join(json.dumps(dict(row)) + "\n" for row in history).encode())

    def note(self, event: str) -> None:
        """Appends an event immediately, so that a killed run keeps it. A write failure is only logged."""
        try:
            with (self.path / EVENTS).open("a", encoding="utf-8") as file:
                file.write(f"{' '.join(event.split())}\n")
        except OSError as error:
            logger.warning("cannot write to %s: %s (%s)", EVENTS, event, error.strerror or error)

    def events(self) -> list[str]:
        """The recorded events, oldest first."""
        path = self.path / EVENTS
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []

    def step_file(self, step: int) -> Path:
        """Path of the trajectories of a step."""
        return self.trajectories / f"step-{step:06d}.parquet"

    def exam_file(self, step: int) -> Path:
        """Path of the trajectories of the exam after a step."""
        return self.path / "exams" / f"exam-{step:06d}.parquet"

    def write_groups(self, step: int, groups: Sequence[Group]) -> Path:
        """Stores the groups of a step, before the learner uses them. Raises StorageFault."""
        return write_groups(self.step_file(step), groups, step)

    def read_groups(self, step: int, most: int | None = None) -> list[Group] | None:
        """The groups of a step in order (the first `most` of them), or None when the step was not stored.

        Raises CheckpointError.
        """
        path = self.step_file(step)
        return read_groups(path, most) if path.exists() else None

    def trajectories_since(self, first: int) -> set[str]:
        """Ids of all trajectories in the stored steps from `first` on."""
        import pyarrow.parquet as pq

        paths = [path for path in self.trajectories.glob("step-*.parquet") if path >= self.step_file(first)]
        columns = (pq.read_table(path, columns=["trajectory"])["trajectory"] for path in paths)
        return {one for column in columns for one in column.to_pylist() if one is not None}

    def write_exam(self, step: int, played: Sequence[Trajectory]) -> None:
        """Stores the trajectories of an exam. Raises StorageFault."""
        groups = [Group(task=trajectory.task, trajectories=(trajectory,)) for trajectory in played]
        write_groups(self.exam_file(step), groups, step)

    def read_exam(self, step: int) -> list[Trajectory] | None:
        """The trajectories of an exam, or None when it was not stored. Raises CheckpointError."""
        path = self.exam_file(step)
        return [group.trajectories[0] for group in read_groups(path)] if path.exists() else None

    def write_reviews(self, step: int, pairs: Mapping[str, Pair]) -> None:
        """Stores the policy's and the critic's feedback on the pages of an exam. Raises StorageFault."""
        rows = {task: {"policy": list(own), "critic": list(theirs)} for task, (own, theirs) in pairs.items()}
        self.write_json(f"exams/reviews-{step:06d}.json", rows)

    def read_reviews(self, step: int) -> dict[str, Pair] | None:
        """The feedback stored by `write_reviews`, or None. Raises CheckpointError."""
        name = f"exams/reviews-{step:06d}.json"
        if not (self.path / name).exists():
            return None
        return {task: (row["policy"], row["critic"]) for task, row in self.read_json(name).items()}

    def picture(self, sha256: str) -> bytes | None:
        """A stored screenshot as PNG, or None."""
        path = self.shots / f"{sha256}.png"
        return path.read_bytes() if path.exists() else None

    def keep_reference(self, html: str, render: Render) -> None:
        """Stores the list of screenshots of a task's reference page."""
        shots = [[shot.at_ms, shot.sha256, shot.width, shot.height, shot.label] for shot in render.shots]
        path = self.shots / f"{Page(html=html).sha256}.json"
        if not path.exists():
            atomic_write(path, json.dumps(shots).encode(), durable=False)

    def reference(self, task: Task) -> Render | None:
        """The render of a task's reference page from its stored screenshots, or None."""
        page = Page(html=task.reference_html)
        path = self.shots / f"{page.sha256}.json"
        if task.reference_html is None or not path.exists():
            return None
        shots = json.loads(path.read_bytes())
        return Render(
            page_sha256=page.sha256,
            outcome="ok",
            shots=tuple(
                Shot(at_ms=at, sha256=sha, width=width, height=height, label=label)
                for at, sha, width, height, label in shots
            ),
        )

    def keep(self, shot: Shot, png: bytes) -> None:
        """Stores a screenshot under its content hash."""
        path = self.shots / f"{shot.sha256}.png"
        if not path.exists():
            atomic_write(path, png, durable=False)


def _checksum(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def write_groups(path: Path, groups: Sequence[Group], step: int) -> Path:
    """Writes groups as a table, one row per attempt. Raises StorageFault.

    The format is Parquet, or uncompressed Arrow for a path with TEMPORARY_SUFFIX, which takes a third of the time and
    five times the space.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for place, group in enumerate(groups) for row in group_rows(group, step, place)]
    table = pa.Table.from_pylist(rows, schema=schema())
    sink = pa.BufferOutputStream()
    if path.suffix == TEMPORARY_SUFFIX:
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    else:
        pq.write_table(table, sink, compression="zstd")
    return atomic_write(path, sink.getvalue())


def read_groups(path: Path, most: int | None = None) -> list[Group]:
    """Reads the groups of a table in order (the first `most` of them). Raises CheckpointError when it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == TEMPORARY_SUFFIX:
            rows = pa.ipc.open_file(path.read_bytes()).read_all().to_pylist()
        elif most is None:
            rows = pq.read_table(path).to_pylist()
        else:
            rows = _first_rows(path, most)
        return rows_groups(rows)[:most]
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error}); delete it to play this step again"
        ) from None


def _first_rows(path: Path, most: int) -> list[TableRow]:
    """Rows of the first `most` groups of a table and some more, without reading the rest of the file."""
    import pyarrow.parquet as pq

    rows: list[TableRow] = []
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            rows += batch.to_pylist()
            if len(list(groupby(rows, key=lambda row: row["group"]))) > most:
                break
    return rows


def without_pixels(trajectory: Trajectory) -> Trajectory:
    """The trajectory with screenshot hashes only: pixels never reach the driver or the learner."""
    turns = tuple(
        replace(turn, attempts=tuple(_without_pixels(attempt) for attempt in turn.attempts))
        for turn in trajectory.turns
    )
    return replace(trajectory, turns=turns)


def shots_as_hashes(render: Render | None) -> Render | None:
    """The render with screenshot hashes only."""
    return render and replace(render, shots=tuple(replace(shot, picture=None) for shot in render.shots))


def _without_pixels(attempt: Attempt) -> Attempt:
    return replace(attempt, render=shots_as_hashes(attempt.render))
