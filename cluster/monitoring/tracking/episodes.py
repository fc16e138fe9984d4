"""Episodes in MLflow: one table of a sample of all steps' episodes, and traces of a smaller sample.

A tag of the run records the last delivered step. Steps that were not delivered are read from the run's own files later.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.monitoring.tracking.delivery import Delivery
from cluster.monitoring.tracking.traces import EpisodeTrace, TraceBuilder, clean, entities
from cluster.settings import RunSettings
from cluster.storage.store import Store
from rollout.records import Group, Trajectory

TABLE = "episodes.json"
ROWS_A_STEP = 32
"""Episodes of a step in the table, the first of its groups in turn."""
MAX_ROWS = 5_000
"""Rows of the table; the oldest steps are removed first."""
MAX_TEXT_CHARS = 300
"""Characters of a brief and of feedback in a row."""
CURSOR = "relook.episodes_step"
"""Tag of the run: the last step whose episodes were delivered."""
COLUMNS = (
    "step", "task", "brief", "episode", "rounds", "first page", "reward before", "reward after", "critic scores",
    "verdicts", "feedback", "seconds", "retries", "trace",
)  # fmt: skip


class EpisodeTracker:
    """Delivers the episodes of one MLflow run."""

    def __init__(self, client: Any, run: Any, delivery: Delivery, store: Store, settings: RunSettings) -> None:
        """`client` is an MlflowClient, `run` its run with tags."""
        from mlflow.tracing.client import TracingClient

        self.client, self.delivery = client, delivery
        self.store, self.settings = store, settings
        self.run, self.experiment = str(run.info.run_id), str(run.info.experiment_id)
        self.tracing = TracingClient(client.tracking_uri)
        self.builder = TraceBuilder(self.run, settings.episode.speculate, store.picture)
        self.delivered = int(run.data.tags.get(CURSOR, 0))
        self.rows: dict[int, list[list[Any]]] | None = None if self.delivered else {}
        """Rows of the table by step; None until the table of a resumed run was read once."""

    def deliver(self, step: int, groups: Sequence[Group], *, upload: bool) -> None:
        """Delivers a step and all steps before it that MLflow lacks; uploads the table if `upload`."""
        for number in range(self.delivered + 1, step + 1):
            played = groups if number == step else self.store.read_groups(number, ROWS_A_STEP)
            if not self._step(number, played or []):
                return
            self.delivered = number
        if upload and self.rows:
            self._upload()

    def _step(self, step: int, groups: Sequence[Group]) -> bool:
        """Delivers the traces of a step and adds its rows to the table. Returns whether MLflow accepted them."""
        if self.rows is None and not self.delivery.send(self._read_table):
            return False
        assert self.rows is not None
        sample = list(in_turn(groups, ROWS_A_STEP))
        traced = {}
        for trajectory in sample[: self.settings.tracking.traces]:
            trace = self.builder.build(trajectory, step)
            traced[trajectory.id] = trace.trace_id
            if not self.delivery.send(self._trace, trace, trajectory, step):
                return False
        self.rows[step] = [table_row(step, trajectory, traced.get(trajectory.id, "")) for trajectory in sample]
        while sum(map(len, self.rows.values())) > MAX_ROWS:
            del self.rows[min(self.rows)]
        return True

    def _trace(self, trace: EpisodeTrace, trajectory: Trajectory, step: int) -> None:
        """Sends the spans, the assessments and the screenshots of an episode; may be repeated."""
        tags = {"run": self.store.path.name, "step": str(step), "task": clean(trajectory.task.id, MAX_TEXT_CHARS)}
        info, spans = entities(trace, trajectory, experiment=self.experiment, run=self.run, tags=tags)
        info = self.tracing.start_trace(info)
        self.tracing.log_spans(self.experiment, spans)
        if trace.pictures:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            artifacts = get_artifact_repository(info.tags["mlflow.artifactLocation"])
            for name, png in trace.pictures.items():
                artifacts.upload_attachment(name, png)

    def _upload(self) -> None:
        """Replaces the table and then records the delivered step, so that a lost table is uploaded again."""
        assert self.rows is not None
        data = [row for step in sorted(self.rows) for row in self.rows[step]]
        table = {"columns": list(COLUMNS), "data": data}
        mark = json.dumps([{"path": TABLE, "type": "table"}])
        _ = (
            self.delivery.send(self.client.log_dict, self.run, table, TABLE)
            and self.delivery.send(self.client.set_tag, self.run, "mlflow.loggedArtifacts", mark)
            and self.delivery.send(self.client.set_tag, self.run, CURSOR, str(self.delivered))
        )

    def _read_table(self) -> None:
        """Reads the table of a resumed run; rows after the delivered step are made again."""
        path = Path(self.client.download_artifacts(self.run, TABLE))
        self.rows = {}
        for row in json.loads(path.read_bytes())["data"]:
            if row[0] <= self.delivered:
                self.rows.setdefault(row[0], []).append(row)


def in_turn(groups: Sequence[Group], most: int) -> Iterator[Trajectory]:
    """The first `most` trajectories: the first of each group, then the second of each group, and so on."""
    places = range(max((len(group.trajectories) for group in groups), default=0))
    found = (group.trajectories[place] for place in places for group in groups if place < len(group.trajectories))
    for _, trajectory in zip(range(most), found, strict=False):
        yield trajectory


def table_row(step: int, trajectory: Trajectory, trace_id: str) -> list[Any]:
    """One row of the table, in the order of COLUMNS."""
    first, best = trajectory.turns[0].attempts[0], trajectory.accepted[-1]
    attempts = [attempt for turn in trajectory.turns for attempt in turn.attempts]
    scores = [f"{attempt.critique.score:.3f}" for attempt in attempts if attempt.critique is not None]
    return [
        step,
        trajectory.task.id,
        clean(trajectory.task.brief, MAX_TEXT_CHARS),
        trajectory.id,
        len(trajectory.turns) - 1,
        first.outcome,
        round(first.total, 4),
        round(trajectory.reward, 4),
        ", ".join(scores),
        ", ".join(attempt.verdict for attempt in attempts),
        clean(" ".join(best.feedback), MAX_TEXT_CHARS),
        round(trajectory.seconds, 2),
        trajectory.retries,
        trace_id,
    ]
