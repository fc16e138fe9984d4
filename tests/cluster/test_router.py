"""Four episode workers over shared actors, on a real Ray: limits, shared renders and affinity hold for all together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 900


def counted(kind: str, folder: Path) -> dict[str, Any]:
    """What the actors of `routed_crew.py` counted."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "cluster")))
    command = [sys.executable, str(Path(__file__).with_name("routed_crew.py")), kind, str(folder)]
    shown = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


def nothing_is_held(leftover: dict[str, list[int]]) -> bool:
    return leftover == {"policy": [0, 0], "browser": [0] * 4, "critic": [0, 0]}


@pytest.mark.engine
def test_four_workers_share_actors_and_lose_no_permits_with_those_that_die(tmp_path: Path) -> None:
    found = counted("stubs", tmp_path)
    peace = found["peace"]
    assert peace["idle"] == [1] * 4, "four idle browsers get one page each"
    assert (peace["most"], peace["pages"]) == ([1] * 4, 48)
    assert peace["shared"] == 1, "all workers ask for one page, which is rendered once"
    assert [most for most, _ in peace["engines"]] == [3, 3]
    assert sum(calls for _, calls in peace["engines"]) == 48
    assert [most for most, _ in peace["critics"]] == [2, 2]
    assert all(sorted(calls) == [0, 3] for calls in peace["homes"]), "a prompt goes to the engine that has its prefix"
    assert nothing_is_held(peace["leftover"])
    for victim in ("worker", "router", "browser"):
        assert found[victim]["outcomes"] == {"ok": 24}, victim
        assert nothing_is_held(found[victim]["leftover"]), victim
    assert found["router"]["most"] == [1] * 4, "a new router learns which calls run already"
    assert found["afterwards"]["most"] == [1] * 4
    assert nothing_is_held(found["afterwards"]["leftover"])


@pytest.mark.engine
@pytest.mark.browser
def test_four_workers_share_four_real_browsers(tmp_path: Path) -> None:
    found = counted("chromium", tmp_path)
    assert found["idle"] == [1] * 4
    assert (found["shared"], found["outcomes"]) == (1, ["ok"] * 4)
    assert found["most"] == [1] * 4
    assert nothing_is_held(found["leftover"])
