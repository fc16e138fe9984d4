"""Tests of `status.json`: stage, progress and actors for other processes, and the end of a run."""

import io
import time
from pathlib import Path
from typing import Any

from cluster.monitoring.display import Display
from cluster.monitoring.status_file import STATUS, StatusFile
from cluster.storage.store import Store


def wait_for(store: Store, wanted: dict[str, Any]) -> dict[str, Any]:
    """The status, once it has these values."""
    deadline = time.monotonic() + 60
    while True:
        seen = store.read_json(STATUS) if (store.path / STATUS).exists() else {}
        if wanted.items() <= seen.items():
            return seen
        assert time.monotonic() < deadline, f"got {seen}, wanted {wanted}"
        time.sleep(0.05)


def test_status_follows_the_display_and_the_actors(tmp_path: Path) -> None:
    store = Store(tmp_path)
    display = Display(io.StringIO())
    status = StatusFile(store, display.progress_now)
    display.stage("step 1 of 4")
    display.progress(2, 6, "groups")
    status.health("browser", 1, 1)
    seen = wait_for(store, {"stage": "step 1 of 4", "done": 2, "total": 6, "what": "groups", "status": "running"})
    assert seen["step"] == 0
    assert abs(seen["time"] - time.time()) < 60
    display.step({"step": 1}, 4)
    wait_for(store, {"step": 1, "steps": 4, "pools": {"browser": {"healthy": 1, "lost": 1}}})
    status.close("stopped")
    status.close("failed")
    assert {**store.read_json(STATUS), "time": 0} == {"status": "stopped", "pools": {}, "time": 0}


def test_a_folder_that_cannot_be_written_does_not_stop_the_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / STATUS).mkdir()
    status = StatusFile(store, Display(io.StringIO()).progress_now)
    status.health("browser", 1, 0)
    status.close("finished")
    assert (tmp_path / STATUS).is_dir()
