"""Tests of the command `watch`: one clear line for each mistake, and a quiet end."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.watch import main

ROOT = Path(__file__).parent.parent.parent


def new_run(path: Path) -> None:
    settings = RunSettings().model_dump(mode="json")
    Store(path).write_json("run.json", {"run_id": path.name, "settings": settings})


def test_a_folder_that_is_no_run_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--runs", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"relook: no run {str(tmp_path)!r}")


def test_a_taken_port_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_run(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["run", "--runs", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"relook: cannot listen on 127.0.0.1:{port}: ")
    assert line.endswith("choose a --port")


def test_ctrl_c_ends_the_server_quietly(tmp_path: Path) -> None:
    new_run(tmp_path / "run")
    command = [sys.executable, "-m", "cluster.watch", "run", "--runs", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("watching run on http://localhost:")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
