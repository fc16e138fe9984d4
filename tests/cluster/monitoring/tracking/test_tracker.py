"""Tests of the MLflow tracker: an early error for an absent server, later delivery after a fault, no duplicates."""

import http.server
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import pytest

from cluster.monitoring.tracking.metric_names import EXAM_MARK
from cluster.monitoring.tracking.tracker import Tracker, check_server
from cluster.settings import RunSettings
from cluster.storage.store import Store
from learner.checkpoint import writing
from rollout.errors import SettingsError


def test_absent_server_is_reported_without_its_password() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    port = server.server_address[1]
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    check_server(f"http://127.0.0.1:{port}")
    thread.join()
    server.server_close()
    with pytest.raises(SettingsError, match=rf"no server answers at 127\.0\.0\.1:{port} ") as caught:
        check_server(f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)


def test_sqlite_store_needs_no_server() -> None:
    check_server("sqlite:///nowhere.db")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_refused_metrics_are_delivered_later_and_never_twice(tmp_path: Path) -> None:
    notes: list[str] = []
    crown(tmp_path / "champion", "weights")
    rows = [{"step": step, "seconds_step": 1.0} for step in (1, 2, 3)]
    exams = [{"step": 0, "exam_reward": 0.5}, {"step": 2, "exam_reward": 0.7}]
    tracker = Tracker(RunSettings(), Store(tmp_path / "run"), "run", None, notes.append)
    tracker.metrics(rows[:1])
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    tracker.metrics(exams[:1], EXAM_MARK)
    tracker.metrics(rows[:2])
    tracker.champion(tmp_path / "champion", 2, 0.7)
    holder.execute("ROLLBACK")
    holder.close()
    tracker.reach()
    assert tracker.registry.all() == []
    tracker.metrics(exams, EXAM_MARK)
    tracker.metrics(rows[:2])
    tracker.champion(tmp_path / "champion", 2, 0.7)
    assert [" ".join(note.split()[:4]) for note in notes] == ["MLflow did not accept", "MLflow accepts data again"]

    resumed = Tracker(RunSettings(), Store(tmp_path / "run"), "run", tracker.run)
    resumed.metrics(rows)
    resumed.metrics(exams, EXAM_MARK)
    resumed.champion(tmp_path / "champion", 2, 0.7)
    assert [version.tags["step"] for version in tracker.registry.all()] == ["2"]
    for name, steps in (("exam/reward", [0, 2]), ("time/step", [1, 2, 3])):
        assert [point.step for point in tracker.client.get_metric_history(tracker.run, name)] == steps


@pytest.mark.engine
def test_simultaneous_runs_can_create_one_new_database(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cluster.settings import RunSettings; "
        "from cluster.storage.store import Store; "
        "from cluster.monitoring.tracking.tracker import Tracker; "
        "print(Tracker(RunSettings(name='same'), Store(Path(sys.argv[1]) / sys.argv[2]), sys.argv[2]).run)"
    )
    begin = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    started = [subprocess.Popen([*begin, f"run-{i}"], stdout=PIPE, stderr=PIPE, text=True) for i in range(4)]
    ended = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 4, ended
    runs = {said.split()[-1] for said, _ in ended}
    assert len(runs) == 4
    tracker = Tracker(RunSettings(name="same"), Store(tmp_path / "later"), "later")
    found = tracker.client.search_runs([tracker.client.get_run(tracker.run).info.experiment_id])
    assert runs < {run.info.run_id for run in found}, "all runs are in one experiment"


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_error_for_a_deleted_experiment_says_how_to_restore_it(tmp_path: Path) -> None:
    tracker = Tracker(RunSettings(name="gone"), Store(tmp_path / "run"), "run")
    experiment = tracker.client.get_run(tracker.run).info.experiment_id
    tracker.client.delete_experiment(experiment)
    with pytest.raises(SettingsError, match=f"'gone' was deleted: .*restore --experiment-id {experiment}"):
        Tracker(RunSettings(name="gone"), Store(tmp_path / "other"), "other")


def crown(path: Path, words: str) -> None:
    """Export a champion over the previous one."""
    with writing(path) as filling:
        (filling / "config.json").write_text(words)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_champion_is_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.artifacts import download_artifacts

    champion, settings = tmp_path / "champion", RunSettings(name="paper")
    tracker = Tracker(settings, Store(tmp_path / "paper-1"), "paper-1")
    crown(champion, "first")
    tracker.champion(champion, 0, 0.1)
    assert tracker.registry.all() == [], "the policy that training began with did not move"

    crown(champion, "second")
    tracker.champion(champion, 4, 0.25)
    tracker.champion(champion, 4, 0.25)
    resumed = Tracker(settings, Store(tmp_path / "paper-1"), "paper-1", tracker.run)
    resumed.champion(champion, 4, 0.25)
    (version,) = tracker.registry.all()
    assert (version.run_id, version.tags) == (
        tracker.run,
        {"run_id": "paper-1", "step": "4", "exam_reward": "0.250000"},
    )

    crown(champion, "third")
    resumed.champion(champion, 8, 0.5)
    # A run that resumes from a checkpoint reports an earlier champion again, which is no longer the champion.
    Tracker(settings, Store(tmp_path / "paper-1"), "paper-1", tracker.run).champion(champion, 4, 0.25)
    assert sorted(version.tags["step"] for version in tracker.registry.all()) == ["4", "8"]
    newest = tracker.client.get_model_version_by_alias("paper", "champion")
    assert newest.tags["step"] == "8"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for which, words in (("/1", "second"), ("/2", "third"), ("@champion", "third")):
        assert Path(download_artifacts(f"models:/paper{which}"), "config.json").read_text() == words
    artifacts = tracker.client.list_artifacts(tracker.run, "champion")
    assert [artifact.path for artifact in artifacts] == ["champion/step-000004", "champion/step-000008"]
    assert not list(tmp_path.glob("mlruns")), "a version refers to the run's artifacts, its files are nowhere else"


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_champion_replaced_during_delivery_is_not_registered(tmp_path: Path) -> None:
    champion = tmp_path / "champion"
    tracker = Tracker(RunSettings(name="paper"), Store(tmp_path / "paper-1"), "paper-1")
    crown(champion, "old")
    deliver = tracker.client.log_artifacts

    def overtaken(*arguments: str) -> None:
        deliver(*arguments)
        crown(champion, "new")

    tracker.client.log_artifacts = overtaken  # type: ignore[method-assign]
    tracker.champion(champion, 4, 0.25)
    tracker.client.log_artifacts = deliver  # type: ignore[method-assign]
    assert tracker.registry.all() == []
    tracker.champion(champion, 8, 0.5)
    assert [version.tags["step"] for version in tracker.registry.all()] == ["8"]
