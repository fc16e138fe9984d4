"""Tests of the `relook` command: its list of commands, options, and unknown commands."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.__main__ import main
from cluster.commands import COMMANDS

ROOT = Path(__file__).parent.parent.parent


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown and description in shown for name, (_, description) in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_a_module_with_a_main(name: str) -> None:
    assert callable(importlib.import_module(COMMANDS[name][0]).main)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["--nothing"]])
def test_an_unknown_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: relook COMMAND")


def test_options_reach_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "gone.toml"]) == 2
    assert capsys.readouterr().err.startswith("relook: ")
    assert main(["train", "deploy/runs/demo.toml", "--set", "steps=none"]) == 2
    assert "steps" in capsys.readouterr().err


def test_python_m_cluster_runs_the_same_commands() -> None:
    command = [sys.executable, "-m", "cluster", "evaluate", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: python -m cluster.evaluate ")
