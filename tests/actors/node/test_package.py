"""Tests of the Node packages: a missing or old Node is one line, and every lock file pins its packages."""

import json
from pathlib import Path

import pytest

from actors.node.package import LOCK, PACKAGES, find_node
from rollout.errors import SettingsError


def program(folder: Path, name: str, says: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho {says}\n")
    (folder / name).chmod(0o755)


def test_a_missing_or_old_node_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^'node' is not on the PATH.*; install Node 18 or newer with npm$"):
        find_node()
    program(tmp_path, "node", "v16.20.0")
    with pytest.raises(SettingsError, match=r"^'npm' is not on the PATH"):
        find_node()
    program(tmp_path, "npm", "8")
    with pytest.raises(SettingsError, match=r"has version 'v16\.20\.0'; install Node 18"):
        find_node()
    program(tmp_path, "node", "v20.20.2")
    assert find_node() == tmp_path / "node"


@pytest.mark.parametrize("name", ["playwright", "jest"])
def test_a_lock_file_pins_what_its_package_asks_for(name: str) -> None:
    asked = json.loads((PACKAGES / name / "package.json").read_text())
    locked = json.loads((PACKAGES / name / LOCK).read_text())["packages"]
    assert locked[""]["dependencies"] == asked["dependencies"]
    assert {package: locked[f"node_modules/{package}"]["version"] for package in asked["dependencies"]} == asked[
        "dependencies"
    ]
    assert all("integrity" in one for path, one in locked.items() if path)
