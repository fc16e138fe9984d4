"""Test of the acceptance command on the demo's settings: real Ray, vLLM, DeepSpeed and Chromium."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from family import ProcessFamily

pytestmark = pytest.mark.engine
PATIENCE_S = 600
SMALL = ("group_size=2", "policy.max_num_seqs=8", "episode.max_tokens=256", "learner.token_budget=2048")
MEASURED = {
    "nodes that answer",
    "nodes that see all files",
    "learner against transformers",
    "launch of all actors",
    "weight sync",
    "log-prob gap, engine and learner",
    "generation of one engine",
    "rendering of one browser",
    "updates of the learner",
    "peak memory of an update",
    "a step of 4 episodes",
    "peak memory of a sample of 2048 tokens",
}


def test_acceptance_of_the_demo_measures_everything_and_finds_nothing_wrong(tmp_path: Path) -> None:
    overrides = [word for setting in (*SMALL, f"runs={tmp_path}") for word in ("--set", setting)]
    command = [sys.executable, "-m", "cluster.accept", "deploy/runs/demo.toml", "--groups", "2", "--out", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    with ProcessFamily() as family:
        done = subprocess.run(
            [*command, *overrides],
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE_S,
            check=False,
        )
        assert family.left_behind() == []
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "acceptance.json").read_text())
    figures = {one["what"]: one["figure"] for one in found["measurements"]}
    assert set(figures) >= MEASURED
    assert all(figures[what] is not None for what in MEASURED)
    assert figures["log-prob gap, engine and learner"] < 1e-3
    assert found["prediction"]["step_s"] > 0
    assert found["prediction"]["steps"] == 13
    assert "A step will take" in (tmp_path / "acceptance.html").read_text()
