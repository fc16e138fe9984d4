"""Tests of the Prometheus metrics of a run in Ray's exporter, and of the Grafana dashboard that draws them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.monitoring.gauges import ACTORS, GAUGES
from cluster.settings import RunSettings
from cluster.training.metrics import pool_metrics, step_metrics

ROOT = Path(__file__).parents[3]
NAMES = {reading.name for reading in GAUGES} | {ACTORS}
DRIVER = """
import socket, time, urllib.request
import ray
from cluster.monitoring.gauges import GAUGES, Gauges

with socket.socket() as door:
    door.bind(("127.0.0.1", 0))
    port = door.getsockname()[1]
Gauges("early").show({"step": 1.0})  # not in a cluster: nothing happens
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, _metrics_export_port=port)

keys = [key for reading in GAUGES for key in reading.values.values()]
gauges = Gauges("run-1")
gauges.health("browser", well=3, lost=1)
gauges.show({key: place / 8 for place, key in enumerate(keys)})
text, started, deadline = "", time.monotonic(), time.monotonic() + 120
# Set once, and still there when the exporter would have dropped it.
while time.monotonic() < started + 30 or ("relook_dropped_episodes" not in text and time.monotonic() < deadline):
    time.sleep(1)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    except OSError:
        continue
print("\\n".join(line for line in text.splitlines() if line.startswith("ray_relook_")))
gauges.close()
ray.shutdown()
"""


def test_dashboard_draws_exactly_the_exported_metrics() -> None:
    text = (ROOT / "deploy" / "grafana.json").read_text()
    assert set(re.findall(r"\bray_(relook_\w+)", text)) == NAMES
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] and panel["targets"] for panel in panels)


def test_every_metric_is_in_the_row_of_a_step() -> None:
    row = step_metrics([], version=0, seconds={"play": 1.0, "learn": 1.0, "sync": 1.0})
    row |= {"busy_policy": 1.0, "step": 1.0}
    row |= pool_metrics(row, RunSettings()) | {"sync_gap": 0.0, "cpu_busy": 0.0}
    assert {key for reading in GAUGES for key in reading.values.values()} <= row.keys()


@pytest.mark.engine
def test_ray_keeps_exporting_metrics_that_were_set_once(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    shown = subprocess.run(
        [sys.executable, "-c", DRIVER], env=inherited | home, capture_output=True, text=True, timeout=300, check=False
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    lines = [re.fullmatch(r"ray_(\w+)\{(.*)\} (\S+)", line) for line in shown.stdout.splitlines()]
    found = {
        (line[1], "/".join(re.findall(r'\b(?:pool|stage|page|state)="([\w-]+)"', line[2]))): float(line[3])
        for line in lines
        if line and 'run="run-1"' in line[2]
    }
    expected = [(reading.name, label) for reading in GAUGES for label in reading.values]
    health = {(ACTORS, "browser/well"): 3.0, (ACTORS, "browser/lost"): 1.0}
    assert found == {key: place / 8 for place, key in enumerate(expected)} | health
