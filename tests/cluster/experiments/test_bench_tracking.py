"""Tests of the bench of MLflow's pages: the logged run, and the server and the pages on a small store."""

import sqlite3
from pathlib import Path

import pytest

from cluster.experiments.bench.tracking import part
from cluster.experiments.bench.tracking.long_run import TASKS, log_run

pytestmark = [
    pytest.mark.browser,
    # MLflow's own models use deprecated SQLAlchemy features.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_run_is_logged_with_metrics_traces_and_pictures(tmp_path: Path) -> None:
    run = log_run(tmp_path, 2)
    sizes = part._sizes(run)
    assert sizes["traces"] == 4
    assert sizes["spans"] > 5 * sizes["traces"]
    database = sqlite3.connect(run.database)
    points = dict(database.execute("SELECT key, count(*) FROM metrics GROUP BY key"))
    database.close()
    assert len(points) > 80
    assert points[part.CURVE] == 2
    assert len(list(run.folder.glob("mlflow-artifacts/*/artifacts/images/*.png"))) == TASKS


def test_pages_of_mlflow_show_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "STEPS", 2)
    monkeypatch.setattr(part, "LOADS", 1)
    figures = part.bench_tracking()
    times = {f"{name}_s" for name in part.VIEWS} | {f"request_{name}_s" for name in ("run", "curve", "traces")}
    assert {name for name in figures if name.startswith("ratio_")} == {f"ratio_{name}" for name in times}
    assert all(value > 0 for value in figures.values())
