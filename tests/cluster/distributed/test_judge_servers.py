"""Test of a judge server that Ray manages: its actor is killed and restarted while critics wait."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from family import ProcessFamily
from tiny_vision import tiny_vision

from reward.multimodal.rubric import SYSTEM

ROOT = Path(__file__).parents[3]
PATIENCE_S = 600


@pytest.fixture
def family() -> Iterator[ProcessFamily]:
    with ProcessFamily() as started:
        yield started


@pytest.mark.engine
def test_critics_wait_for_the_restart_of_a_killed_judge(tmp_path: Path, family: ProcessFamily) -> None:
    tiny_vision(tmp_path / "model", [SYSTEM])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support")))
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "judged_actors.py"),
        str(tmp_path / "model"),
        str(tmp_path),
    ]
    shown = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    came = json.loads(shown.stdout.splitlines()[-1])
    assert len(came["judged"]) == 20
    assert all(0.0 <= score <= 1.0 and sentences for score, sentences in came["judged"])
    assert "judge-0 restarted" in came["notes"]
    assert (tmp_path / "judge-0.log").stat().st_size > 0
    assert family.left_behind(("api_server", "VLLM", "RayJudge")) == []
