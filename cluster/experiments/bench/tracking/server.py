"""MLflow's server, started as a run recommends it, with the peak of its memory."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from cluster.experiments.bench.memory import below, pss_kb
from cluster.monitoring.tracking.tracker import UI_ENVIRONMENT, ui_command
from rollout.errors import MachineError

START_S, STOP_S = 300.0, 30.0
LOOK_S = 0.5
"""Interval of the samples of the memory."""


class Server:
    """A running `mlflow ui`."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid
        self.peak_mb = 0.0
        """Largest sum of the memory (PSS) of the server's processes so far."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._closed.wait(LOOK_S):
            self.peak_mb = max(self.peak_mb, sum(pss_kb(one) for one in [self.pid, *below(self.pid)]) / 1024)

    def stop(self) -> None:
        """Ends the server and all its processes."""
        self._closed.set()
        self._thread.join()
        main = psutil.Process(self.pid)
        processes = [main, *main.children(recursive=True)]
        for process in processes:
            with _gone():
                process.terminate()
        for process in psutil.wait_procs(processes, timeout=STOP_S)[1]:
            with _gone():
                process.kill()


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return


@contextmanager
def mlflow_ui(database: Path) -> Iterator[Server]:
    """Runs `mlflow ui` on a SQLite database. Raises MachineError if it does not answer within START_S."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *ui_command(database), "--port", str(port)]
    log = database.with_name("mlflow-ui.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=database.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | UI_ENVIRONMENT,
        )
    server = Server(f"http://127.0.0.1:{port}", process.pid)
    try:
        _wait(server, process, log)
        yield server
    finally:
        server.stop()
        process.wait()


def _wait(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{server.url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    said = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["no output"]
    raise MachineError(f"mlflow ui did not answer at {server.url} within {START_S:.0f} s: {said[0]}")
