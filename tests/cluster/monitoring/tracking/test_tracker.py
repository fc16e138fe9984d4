"""Tests of the MLflow tracker: an early error for an absent server, later delivery after a fault, no duplicates."""

import http.server
import io
import json
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest
from PIL import Image
from played_groups import attempt, group

from cluster.monitoring.tracking.metric_names import EXAM_MARK
from cluster.monitoring.tracking.tracker import Tracker, check_server
from cluster.settings import RunSettings
from cluster.storage.store import Store
from learner.checkpoint import writing
from rollout.errors import SettingsError
from rollout.records import Group, Render, Shot


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
def test_refused_data_are_delivered_later_and_never_twice(tmp_path: Path) -> None:
    notes: list[str] = []
    crown(tmp_path / "champion", "weights")
    rows = [{"step": step, "seconds_step": 1.0} for step in (1, 2, 3)]
    exams = [{"step": 0, "exam_reward": 0.5}, {"step": 2, "exam_reward": 0.7}]
    store = Store(tmp_path / "run")
    played = {step: [seen(store, group("task", [attempt(0, step / 10)]))] for step in (1, 2, 3)}
    for step, groups in played.items():
        store.write_groups(step, groups)
    for step in (0, 2):
        store.write_exam(step, played[1][0].trajectories)
    tracker = Tracker(RunSettings(), store, "run", None, notes.append)
    tracker.metrics(rows[:1])
    tracker.episodes(1, played[1], upload=True)
    tracker.exam_pictures([0])
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    tracker.metrics(exams[:1], EXAM_MARK)
    tracker.metrics(rows[:2])
    tracker.episodes(2, played[2], upload=True)
    tracker.exam_pictures([0, 2])
    tracker.champion(tmp_path / "champion", 2, 0.7)
    holder.execute("ROLLBACK")
    holder.close()
    tracker.reach()
    assert tracker.registry.all() == []
    tracker.metrics(exams, EXAM_MARK)
    tracker.metrics(rows[:2])
    tracker.episodes(2, played[2], upload=False)
    tracker.champion(tmp_path / "champion", 2, 0.7)
    assert [" ".join(note.split()[:4]) for note in notes] == ["MLflow did not accept", "MLflow accepts data again"]

    # The traces of step 2 are sent again, because its table was not uploaded before the resume.
    resumed = Tracker(RunSettings(), store, "run", tracker.run)
    resumed.metrics(rows)
    resumed.metrics(exams, EXAM_MARK)
    resumed.episodes(3, played[3], upload=True)
    resumed.exam_pictures([0, 2])
    resumed.champion(tmp_path / "champion", 2, 0.7)
    assert [version.tags["step"] for version in tracker.registry.all()] == ["2"]
    for name, steps in (("exam/reward", [0, 2]), ("time/step", [1, 2, 3])):
        assert [point.step for point in tracker.client.get_metric_history(tracker.run, name)] == steps
    check_episodes(resumed)


def check_episodes(tracker: Tracker) -> None:
    """MLflow has each of three steps' episodes once, as a trace and as a row, and two exams' images."""
    client = tracker.client
    traces = client.search_traces([client.get_run(tracker.run).info.experiment_id])
    assert sorted(trace.info.tags["step"] for trace in traces) == ["1", "2", "3"]
    for trace in traces:
        (score,) = trace.info.assessments
        assert score.value == int(trace.info.tags["step"]) / 10
        assert sorted(span.name for span in trace.data.spans) == [
            "decision",
            "episode",
            "generate",
            "judge",
            "render",
            "round 0, attempt 0",
        ]
    table = json.loads(Path(client.download_artifacts(tracker.run, "episodes.json")).read_bytes())
    assert [row[0] for row in table["data"]] == [1, 2, 3]
    images = [Path(artifact.path).name for artifact in client.list_artifacts(tracker.run, "images")]
    assert sorted(name.split("+")[:3] for name in images if name.endswith(".png")) == [
        ["exam~task", "step", "0"],
        ["exam~task", "step", "2"],
    ]


def seen(store: Store, played: Group) -> Group:
    """The group with a stored screenshot of each first page."""
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    shot = Shot(at_ms=0, sha256="ab" * 32, width=8, height=8)
    store.keep(shot, png.getvalue())
    (trajectory,) = played.trajectories
    (first,) = trajectory.turns[0].attempts
    first = replace(first, render=Render(page_sha256=first.page.sha256, outcome="ok", shots=(shot,)))
    turn = replace(trajectory.turns[0], attempts=(first,))
    return replace(played, trajectories=(replace(trajectory, turns=(turn,), started_at=100.0, seconds=1.0),))


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
