"""MLflow tracking: settings, code version, metrics, exams, screenshots, trajectories, report and champion.

Failed deliveries are repeated later: an unreachable MLflow server neither loses metrics nor stops the run, and rows
that were delivered before a resume are not sent twice.
"""

import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.monitoring.tracking.metric_names import EXAM_MARK, STEP_MARK, metric_name, named
from cluster.monitoring.tracking.model_registry import Registry
from cluster.settings import RunSettings
from rollout.errors import SettingsError

logger = logging.getLogger(__name__)
MLFLOW_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
MAX_PARAM_CHARS = 500
SERVER_TIMEOUT_S = 10.0
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
"""MLflow's defaults would retry a request for minutes; here the next step retries it anyway."""
REST_S = 10.0
"""Seconds without delivery attempts after a failed delivery."""
AGAIN_S, LAST_PATIENCE_S = 2.0, 60.0
"""Retry interval and total timeout in seconds for the last deliveries of a run."""


def check_server(uri: str) -> None:
    """Raises SettingsError when a server does not answer. MLflow's own client would retry for minutes."""
    if not uri.startswith(("http://", "https://")):
        return
    import httpx

    try:
        httpx.get(uri, timeout=SERVER_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise SettingsError(
            f"MLFLOW_TRACKING_URI: no server answers at {uri.split('@')[-1]} ({error}); start the server or unset it"
        ) from None


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Serialises the creation of tables and experiments in a SQLite database with a file lock.

    Without it, MLflow fails in all but one of the processes that start at once on a new database.
    """
    path = uri.removeprefix("sqlite:///")
    if path == uri:
        yield  # a server serialises requests itself
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Tracker:
    """One MLflow run. Raises SettingsError when the tracking store cannot be opened."""

    def __init__(
        self,
        settings: RunSettings,
        runs: Path,
        run_id: str,
        mlflow_run: str | None = None,
        note: Callable[[str], None] = logger.warning,
    ) -> None:
        """`note` is called when the server becomes unreachable and when it recovers."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        # MLflow logs a traceback for each database error; `note` reports the error in one line instead.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs}/mlflow.db"
        self.failure: type[Exception] = MlflowException
        self.note = note
        check_server(uri)
        try:
            with alone(uri):
                self.client = MlflowClient(tracking_uri=uri)
                self.run = mlflow_run or self._create(settings, runs, run_id)
            self.client.update_run(self.run, status="RUNNING")
            self.delivered = {mark: self._last(mark) if mlflow_run else -1 for mark in (STEP_MARK, EXAM_MARK)}
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise SettingsError(
                f"MLflow at {uri.split('@')[-1]} cannot be used: {str(error).splitlines()[0]}"
            ) from error
        self.registry = Registry(self.client, settings.name, self.run)
        self.registered = 0
        """Step of the champion registered last; that of step 0 is untrained and is not registered."""
        self.run_id = run_id
        self._away_since = self._rest_until = 0.0

    def _last(self, mark: str) -> int:
        history = self.client.get_metric_history(self.run, metric_name(mark))
        return max((point.step for point in history), default=-1)

    def _create(self, settings: RunSettings, runs: Path, run_id: str) -> str:
        experiment = self.client.get_experiment_by_name(settings.name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise SettingsError(
                f"MLflow's experiment {settings.name!r} was deleted: bring it back with `mlflow experiments restore "
                f"--experiment-id {experiment.experiment_id}`, or choose another name with --set name=NAME"
            )
        if experiment is not None:
            experiment_id = experiment.experiment_id
        else:
            place = None if os.environ.get("MLFLOW_TRACKING_URI") else (runs / "mlflow-artifacts").as_uri()
            experiment_id = self.client.create_experiment(settings.name, artifact_location=place)
        run = self.client.create_run(experiment_id, run_name=run_id, tags={"code_version": code_version()})
        mlflow_run = str(run.info.run_id)
        for name, value in flat(settings.model_dump(mode="json")).items():
            self.client.log_param(mlflow_run, name, str(value)[:MAX_PARAM_CHARS])
        return mlflow_run

    def metrics(self, history: Sequence[Mapping[str, float]], mark: str = STEP_MARK) -> None:
        """Delivers the rows of a history (steps or exams) that MLflow lacks; every row contains the key `mark`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for row in history:
            step = int(row["step"])
            if step <= self.delivered[mark]:
                continue
            values = [Metric(name, value, now, step) for name, value in named(row).items()]
            if not self._deliver(self.client.log_batch, self.run, metrics=values):
                return
            self.delivered[mark] = step

    def champion(self, path: Path, step: int, reward: float) -> None:
        """Registers the champion of a step unless it is registered already; `reward` is its exam's mean."""
        tags = {"run_id": self.run_id, EXAM_MARK: f"{reward:.6f}"}
        if step > self.registered and self._deliver(self.registry.register, path, step, tags):
            self.registered = step

    def file(self, path: Path, folder: str | None = None) -> None:
        """Uploads a file as an artifact."""
        self._deliver(self.client.log_artifact, self.run, str(path), folder)

    def folder(self, path: Path, folder: str) -> None:
        """Uploads a folder as artifacts."""
        self._deliver(self.client.log_artifacts, self.run, str(path), folder)

    def reach(self) -> None:
        """Waits up to `LAST_PATIENCE_S` for an unreachable server, before the last deliveries of the run."""
        deadline = time.monotonic() + LAST_PATIENCE_S
        while self._away_since and time.monotonic() < deadline:
            self._rest_until = 0.0
            if not self._deliver(self.client.get_run, self.run):
                time.sleep(AGAIN_S)

    def finish(self, status: str) -> None:
        """Ends the MLflow run with the status of the summary."""
        self._deliver(self.client.set_terminated, self.run, MLFLOW_STATUS[status])

    def _deliver(self, method: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
        if time.monotonic() < self._rest_until:
            return False
        try:
            method(*args, **kwargs)
        except (self.failure, OSError) as error:
            self._rest_until = time.monotonic() + REST_S
            if not self._away_since:
                self._away_since = time.monotonic()
                self.note(f"MLflow did not accept {method.__name__} ({_reason(error)}); the run's own files have it")
            return False
        if self._away_since:
            self.note(f"MLflow accepts data again after {time.monotonic() - self._away_since:.0f} s")
            self._away_since = 0.0
        return True


def _reason(error: Exception) -> str:
    """First informative line of an error; SQLAlchemy's may start with a line about when it was raised."""
    lines = (line for line in str(error).splitlines() if not line.startswith("(raised as a result"))
    return next(lines, "")[:200]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings: `{"a": {"b": 1}}` → `{"a.b": 1}`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result


def code_version() -> str:
    """Git commit of this code, with `+` for uncommitted changes; `unknown` outside a checkout."""
    root = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return commit.stdout.strip() + ("+" if dirty.stdout.strip() else "") if commit.returncode == 0 else "unknown"
