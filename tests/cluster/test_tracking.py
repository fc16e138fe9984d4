"""Where metrics go: nobody at the address is said at once, and what is not taken is delivered later, once."""

import http.server
import sqlite3
import threading
from pathlib import Path

import pytest

from cluster.settings import RunSettings
from cluster.tracking import Tracker, check_server
from rollout.errors import SettingsError


def test_a_server_that_is_away_is_said_at_once_and_without_its_password() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    port = server.server_address[1]
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    check_server(f"http://127.0.0.1:{port}")
    thread.join()
    server.server_close()
    with pytest.raises(SettingsError, match=rf"nobody answers at 127\.0\.0\.1:{port} ") as caught:
        check_server(f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)


def test_a_file_needs_no_server() -> None:
    check_server("sqlite:///nowhere.db")


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_store_does_not_take_it_gets_later_and_a_resumed_run_sends_nothing_twice(tmp_path: Path) -> None:
    notes: list[str] = []
    rows = [{"step": step, "seconds_step": 1.0} for step in (1, 2, 3)]
    tracker = Tracker(RunSettings(), tmp_path, "run", None, notes.append)
    tracker.metrics(rows[:1])
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    tracker.values(1, {"exam_reward": 0.5})
    tracker.metrics(rows[:2])
    holder.execute("ROLLBACK")
    holder.close()
    tracker.reach()
    tracker.values(2, {"exam_reward": 0.7})
    tracker.metrics(rows[:2])
    assert [" ".join(note.split()[:4]) for note in notes] == ["MLflow did not take", "MLflow takes deliveries again"]

    Tracker(RunSettings(), tmp_path, "run", tracker.run).metrics(rows)
    for name, steps in (("exam_reward", [1, 2]), ("seconds_step", [1, 2, 3])):
        assert [point.step for point in tracker.client.get_metric_history(tracker.run, name)] == steps
