"""Tests of stopping a command: the work is cancelled, cleans up, and the command ends without a traceback."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.distributed.stop_signals import SIGNALS, STOPPED, restore_handlers, until_stopped

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_cancels_the_work_after_its_clean_up(number: int) -> None:
    done = list[str]()

    async def work() -> None:
        try:
            restore_handlers()  # as after Ray's start
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            done.append("clean-up")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(until_stopped(work()))
    assert done == ["clean-up"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_work_that_is_not_stopped_has_a_result() -> None:
    async def work() -> int:
        return 7

    assert asyncio.run(until_stopped(work())) == 7


def test_a_stopped_benchmark_says_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "0.html").write_text("<!DOCTYPE html><html><body><p>Hello</p></body></html>")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        command = [sys.executable, "-m", "cluster.benchmark", "design2code", "--source", str(tmp_path / "pages")]
        command += ["--endpoint", address, "--name", "model-1", "--out", str(tmp_path / "out")]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()  # the command waits for the server's answer
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        connection.close()
    assert process.returncode == STOPPED
    assert errors.splitlines()[-1] == f"relook: stopped; repeat the command with --out {tmp_path / 'out'} to continue"
    assert "Traceback" not in errors
