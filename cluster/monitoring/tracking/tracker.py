"""One MLflow run: settings, code version, data sets, metrics, exams, episodes, report and champion.

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

from cluster.monitoring.tracking.data_sets import data_set_inputs
from cluster.monitoring.tracking.delivery import Delivery
from cluster.monitoring.tracking.episodes import EpisodeTracker
from cluster.monitoring.tracking.exam_pictures import ExamPictures
from cluster.monitoring.tracking.metric_names import EXAM_MARK, STEP_MARK, metric_name, named
from cluster.monitoring.tracking.model_registry import Registry
from cluster.monitoring.tracking.node_metrics import node_metrics
from cluster.monitoring.tracking.run_note import NOTE_TAG
from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from rollout.errors import SettingsError
from rollout.records import Group

logger = logging.getLogger(__name__)
MLFLOW_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
MAX_PARAM_CHARS = 500
KIND_TAG = "mlflow.experimentKind"
"""Tag of an experiment that selects its pages; without it, MLflow shows no charts for an experiment with traces."""
SERVER_TIMEOUT_S = 10.0
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""MLflow's defaults would retry a request for minutes, which the next step does anyway, and draw over the display."""


UI_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Without it, MLflow's server starts eight more processes, of 200 MB each, for jobs that ReLook does not use."""


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


def ui_command(database: Path) -> list[str]:
    """Command that shows the runs of a SQLite database in a browser; set UI_ENVIRONMENT for it.

    One worker is enough for a reader. Several workers have a supervisor that restarts those without an answer for five
    seconds: on a busy machine, it restarts them while they load.
    """
    return ["mlflow", "ui", "--workers", "1", "--backend-store-uri", f"sqlite:///{database}"]


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
        store: Store,
        run_id: str,
        mlflow_run: str | None = None,
        note: Callable[[str], None] = logger.warning,
    ) -> None:
        """Opens the server of MLFLOW_TRACKING_URI, else `mlflow.db` beside the run's folder.

        `mlflow_run` is the id of the MLflow run to resume. `note` is called when the server becomes unreachable and
        when it recovers.
        """
        runs = store.path.parent
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        # MLflow logs a traceback for each database error; `note` reports the error in one line instead.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs}/mlflow.db"
        # MLflow raises NotImplementedError for spans when it cannot ask the server for its version.
        self.delivery = Delivery((MlflowException, OSError, NotImplementedError), note)
        check_server(uri)
        try:
            with alone(uri):
                self.client = MlflowClient(tracking_uri=uri)
                self.run = mlflow_run or self._create(settings, runs, run_id)
            self.client.update_run(self.run, status="RUNNING")
            record = self.client.get_run(self.run)
            self.delivered = {mark: self._last(mark) if mlflow_run else -1 for mark in (STEP_MARK, EXAM_MARK)}
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise SettingsError(
                f"MLflow at {uri.split('@')[-1]} cannot be used: {str(error).splitlines()[0]}"
            ) from error
        self.registry = Registry(self.client, settings.name, self.run)
        self.registered = 0
        """Step of the champion registered last; that of step 0 is untrained and is not registered."""
        self.run_id, self.runs = run_id, runs
        self._inputs: list[Any] = []
        self._episodes = EpisodeTracker(self.client, record, self.delivery, store, settings)
        self._pictures = ExamPictures(self.client, self.run, self.delivery, store)

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
            experiment_id = self.client.create_experiment(settings.name, place, {KIND_TAG: "custom_model_development"})
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
            metrics = named(row)
            if mark == STEP_MARK and row is history[-1]:
                metrics |= node_metrics(self.runs)
            values = [Metric(name, value, now, step) for name, value in metrics.items()]
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

    def data_sets(self, curriculum: Curriculum) -> None:
        """Links the run to its training tasks and its held-out tasks."""
        self._inputs = list(data_set_inputs(curriculum))
        self._send_inputs()

    def episodes(self, step: int, groups: Sequence[Group], *, upload: bool) -> None:
        """Delivers a sample of the episodes of a step as traces, and as rows of a table, uploaded if `upload`."""
        self._episodes.deliver(step, groups, upload=upload)

    def exam_pictures(self, steps: list[int]) -> None:
        """Delivers held-out pages of the exams after these steps as images."""
        self._pictures.deliver(steps)

    def describe(self, text: str) -> None:
        """Replaces the run's description, in Markdown."""
        self._deliver(self.client.set_tag, self.run, NOTE_TAG, text)

    def final(self, scores: Mapping[str, float]) -> None:
        """Delivers final scores as metrics with one value each."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in scores.items()]
        self._deliver(self.client.log_batch, self.run, metrics=metrics)

    def reach(self) -> None:
        """Waits for an unreachable server, before the last deliveries of the run."""
        self.delivery.reach(self.client.get_run, self.run)

    def finish(self, status: str) -> None:
        """Ends the MLflow run with the status of the summary."""
        self._send_inputs()
        self.delivery.send_now(self.client.set_terminated, self.run, MLFLOW_STATUS[status])

    def _send_inputs(self) -> None:
        if self._inputs and self._deliver(self.client.log_inputs, self.run, self._inputs):
            self._inputs = []

    def _deliver(self, method: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
        return self.delivery.send(method, *args, **kwargs)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings: `{"a": {"b": 1}}` → `{"a.b": 1}`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result


def open_tracker(
    settings: RunSettings, store: Store, run_id: str, mlflow_run: str | None, note: Callable[[str], None]
) -> Tracker:
    """Opens the tracker of a run, and writes the run's `run.json`, which names its MLflow run for a resume."""
    tracker = Tracker(settings, store, run_id, mlflow_run, note)
    about = {
        "run_id": run_id,
        "mlflow_run": tracker.run,
        "code_version": code_version(),
        "settings": settings.model_dump(mode="json"),
    }
    store.write_json("run.json", about)
    return tracker


def code_version() -> str:
    """Git commit of this code, with `+` for uncommitted changes; `unknown` outside a checkout."""
    root = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return commit.stdout.strip() + ("+" if dirty.stdout.strip() else "") if commit.returncode == 0 else "unknown"
