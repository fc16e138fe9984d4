"""A small real run in its own folder and home: started, followed through its stages, resumed, and examined."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from family import ProcessFamily

ROOT = Path(__file__).parent.parent.parent
TINY = "tests/support/tiny.toml"
STEPS = 3
STAGES = ("first exam", *(f"step {step}" for step in range(1, STEPS + 1)), "last exam", "inference table")
READY = re.compile(r"\] (?:exam on|step \d+ of|inference table)")
OPTIONS = (f"steps={STEPS}", f"exam.every={STEPS}", "browser.cache_mb=0", "max_fault_share=1.0")
PATIENCE_S = 900.0
LOOK_S = 0.1


class World:
    """One run. All its processes belong to the process family; all its files are below the folder."""

    def __init__(self, folder: Path, family: ProcessFamily, options: Sequence[str] = ()) -> None:
        self.folder, self.family, self.options = folder, family, (*OPTIONS, f"runs={folder}", *options)
        self.place = folder
        """Folder of the runs."""
        self.log = folder / "log"
        self.variables: dict[str, str] = {}
        """Environment variables of the run, in addition to those of this process."""
        self.services: dict[str, Any] = {}
        """Servers that the run needs, by name."""
        self.process: subprocess.Popen[bytes] | None = None
        self._read_from = 0
        (folder / "home").mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of all processes of this run."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        path = f"{Path(sys.executable).parent}:{mine['PATH']}"
        return {**mine, "PATH": path, "HOME": str(self.folder / "home"), "RELOOK_HOME": str(ROOT), **self.variables}

    def short_folder(self) -> Path:
        """A new folder with a short path, as Unix sockets require."""
        return Path(tempfile.mkdtemp(prefix="relook-", dir="/tmp"))

    def start(self) -> None:
        """Start the run, or resume it if it exists."""
        settings = [TINY, *(word for option in self.options for word in ("--set", option))]
        command = ["--resume", self.run.name, "--runs", str(self.place)] if self.runs else settings
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cluster.train", *command],
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def runs(self) -> list[Path]:
        """The run's folder in a list; empty before the folder exists."""
        return [path.parent for path in self.place.glob("tiny-*/run.json")]

    @property
    def run(self) -> Path:
        """The run's folder."""
        (path,) = self.runs
        return path

    @property
    def driver(self) -> psutil.Process:
        """The driver process of the run."""
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def ready(self) -> bool:
        """Whether all actors are started and the run is working."""
        with self.log.open("rb") as log:
            log.seek(self._read_from)
            return bool(READY.search(log.read().decode(errors="replace")))

    def stage(self) -> int:
        """Current stage as an index of STAGES; -1 during setup."""
        if not self.ready():
            return -1
        exams, steps = len(list((self.run / "exams").glob("exam-*.parquet"))), len(self.history())
        return 0 if exams == 0 else 1 + steps if steps < STEPS else STEPS + exams

    def history(self) -> list[dict[str, float]]:
        """Metrics of the steps so far."""
        path = self.run / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def summary(self) -> Mapping[str, Any]:
        """Summary of the run."""
        value: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return value

    def said(self) -> str:
        """The last 4,000 characters of the run's output."""
        return self.log.read_text(errors="replace")[-4000:]

    def wait_for(self, condition: Callable[[], object], what: str) -> bool:
        """Wait for a condition; False if the run ends before."""
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}:\n{self.said()}"
            time.sleep(LOOK_S)
        return True

    def finish(self) -> int:
        """Wait for the end of the run; its exit code."""
        self.wait_for(lambda: False, "the run to end")
        assert self.process is not None
        return int(self.process.returncode)
