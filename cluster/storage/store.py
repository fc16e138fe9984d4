"""What a run leaves on disk: settings, trajectories as Parquet, pictures, metrics, the summary.

    runs/<run id>/
        run.json            id, MLflow run, code version, settings
        trajectories/       step-000001.parquet, …: one row an attempt
        shots/              <sha256>.png of the trajectories that are kept for the eye
        unlearnt/           groups that were begun and belong to no step yet; a table each that is finished
        exams/              exam-000010.parquet, and reviews-000010.json: what policy and critic said of its pages
        metrics.jsonl       one line a step
        costs/              critic-0.json, …: what judges that are asked over HTTP have cost
        checkpoints/        step-000010/, … of the learner, and step-000010.json of the run, which makes it whole
        events.txt          what happened, a line each
        summary.json  report.html

Every file is written aside and renamed: a reader, or a run that resumes, never sees half of one.
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
"""Under which a state says what the rest of it must hash to."""
ROWS_AT_ONCE = 64
"""Of a table of which only the beginning is wanted."""
TEMPORARY_SUFFIX = ".arrow"
"""How the name of a table ends that is soon thrown away."""


class Store:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trajectories = path / "trajectories"
        self.shots = path / "shots"
        self.checkpoints = path / "checkpoints"
        self.costs = path / "costs"
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
        return atomic_write(self.path / name, json.dumps(value, indent=1).encode())

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
        """Where the learner's checkpoint of a step is kept."""
        return self.checkpoints / f"step-{step:06d}"

    def write_state(self, step: int, state: Mapping[str, Any], keep: int, spare: int | None = None) -> None:
        """Makes the checkpoint of a step whole, and drops all but the newest `keep` and that of the step `spare`."""
        self.write_json(self._state_name(step), {**state, CHECKSUM: _checksum(state)})
        for old in set(self.saved_steps()[:-keep]) - {spare}:
            (self.checkpoints / f"step-{old:06d}.json").unlink()
        whole = {self.checkpoint(saved) for saved in self.saved_steps()}
        for path in set(self.checkpoints.glob("step-*/")) - whole:  # Some may be of a run that was killed right here.
            shutil.rmtree(path, ignore_errors=True)

    def read_state(self, step: int) -> dict[str, Any]:
        """What `write_state` wrote. Raises CheckpointError when it is damaged, and names the newest sound one before.

        Those of older runs have no checksum, and are believed.
        """
        state, problem = self._state(step)
        if problem:
            older = (old for old in reversed(self.saved_steps()) if old < step and not self._state(old)[1])
            before, here = next(older, None), f"remove {self.checkpoint(step)}*"
            advice = f"there is no sound one before it; {here} to learn from the stored steps again"
            if before is not None:
                advice = f"{here} to go on from {self.checkpoint(before).name}, the newest sound one before it"
            raise CheckpointError(f"{problem}; {advice}")
        return state

    def _state(self, step: int) -> tuple[dict[str, Any], str]:
        """A state, and what is wrong with it; nothing where that is empty."""
        name = self._state_name(step)
        try:
            state = self.read_json(name)
        except CheckpointError as error:
            return {}, str(error)
        found = state.pop(CHECKSUM, None)
        wanted = _checksum(state)
        return state, "" if found in (None, wanted) else f"{self.path / name}: its checksum is {wanted}, not {found}"

    @staticmethod
    def _state_name(step: int) -> str:
        return f"checkpoints/step-{step:06d}.json"

    def saved_steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.checkpoints.glob("step-*.json"))

    def write_history(self, history: Iterable[Mapping[str, float]]) -> None:
        """The metrics of all steps so far, one JSON object a line."""
        atomic_write(self.path / "metrics.jsonl", "".join(json.dumps(dict(row)) + "\n" for row in history).encode())

    def note(self, event: str) -> None:
        """Writes down what happened, at once: a run that is killed remembers it. A full disk is no reason to stop."""
        try:
            with (self.path / EVENTS).open("a", encoding="utf-8") as file:
                file.write(f"{' '.join(event.split())}\n")
        except OSError as error:
            logger.warning("%s has not been told: %s (%s)", EVENTS, event, error.strerror or error)

    def events(self) -> list[str]:
        """What was noted, oldest first."""
        path = self.path / EVENTS
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []

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

    def trajectories_since(self, first: int) -> set[str]:
        """Ids of all trajectories that the stored steps from `first` on learn from."""
        import pyarrow.parquet as pq

        paths = [path for path in self.trajectories.glob("step-*.parquet") if path >= self.step_file(first)]
        columns = (pq.read_table(path, columns=["trajectory"])["trajectory"] for path in paths)
        return {one for column in columns for one in column.to_pylist() if one is not None}

    def write_exam(self, step: int, played: Sequence[Trajectory]) -> None:
        """Stores a sitting. Raises StorageFault."""
        groups = [Group(task=trajectory.task, trajectories=(trajectory,)) for trajectory in played]
        write_groups(self.exam_file(step), groups, step)

    def read_exam(self, step: int) -> list[Trajectory] | None:
        """The pages of a sitting, or None when it was never stored. Raises CheckpointError."""
        path = self.exam_file(step)
        return [group.trajectories[0] for group in read_groups(path)] if path.exists() else None

    def write_reviews(self, step: int, pairs: Mapping[str, Pair]) -> None:
        """Stores what policy and critic said of the pages of a sitting. Raises StorageFault."""
        rows = {task: {"policy": list(own), "critic": list(theirs)} for task, (own, theirs) in pairs.items()}
        self.write_json(f"exams/reviews-{step:06d}.json", rows)

    def read_reviews(self, step: int) -> dict[str, Pair] | None:
        """What they said, or None when it was never stored. Raises CheckpointError."""
        name = f"exams/reviews-{step:06d}.json"
        if not (self.path / name).exists():
            return None
        return {task: (row["policy"], row["critic"]) for task, row in self.read_json(name).items()}

    def picture(self, sha256: str) -> bytes | None:
        """A kept screenshot as PNG, or None."""
        path = self.shots / f"{sha256}.png"
        return path.read_bytes() if path.exists() else None

    def keep_reference(self, html: str, render: Render) -> None:
        """Remembers which pictures show a task's reference page."""
        shots = [[shot.at_ms, shot.sha256, shot.width, shot.height, shot.label] for shot in render.shots]
        path = self.shots / f"{Page(html=html).sha256}.json"
        if not path.exists():
            atomic_write(path, json.dumps(shots).encode(), durable=False)

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
            atomic_write(path, png, durable=False)


def _checksum(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


def write_groups(path: Path, groups: Sequence[Group], step: int) -> Path:
    """Writes groups as a table, one row an attempt: Parquet, or, where the path ends with SCRATCH, as Arrow has it in
    memory, which costs a third of the time and five times the space. Raises StorageFault."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for place, group in enumerate(groups) for row in group_rows(group, step, place)]
    table, sink = pa.Table.from_pylist(rows, schema=schema()), pa.BufferOutputStream()
    if path.suffix == TEMPORARY_SUFFIX:
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    else:
        pq.write_table(table, sink, compression="zstd")
    return atomic_write(path, sink.getvalue())


def read_groups(path: Path, most: int | None = None) -> list[Group]:
    """The groups of a table in their order, the first `most` of them. Raises CheckpointError for damage."""
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
    """The rows of the first `most` groups of a table and some more, without reading what comes after."""
    import pyarrow.parquet as pq

    rows: list[TableRow] = []
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
