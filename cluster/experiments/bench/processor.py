"""CPU time of this process and its descendants, and their core affinity."""

import os
import threading
from pathlib import Path
from typing import Self

import psutil

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25
"""Interval of the samples of CpuSampler."""


def cpu_seconds() -> float:
    """CPU seconds of this process, its live descendants, and descendants that were waited for.

    Linux loses the CPU time of a process if its parent ended first: end measured processes before their parents.
    """
    total, todo = 0, [os.getpid()]
    while todo:
        process = Path(f"/proc/{todo.pop()}")
        try:
            row = (process / "stat").read_text().rpartition(")")[2].split()
            for thread in (process / "task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # the process ended in the meantime
            continue
        total += sum(map(int, row[11:15]))
    return total / TICKS


class CpuSampler:
    """Context that samples the CPU time of all descendants, so that a process that is killed is counted until then."""

    def __init__(self) -> None:
        self._spent: dict[psutil.Process, float] = {}
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="cpu-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def seconds(self) -> float:
        """CPU seconds of this process and of all descendants seen so far."""
        with self._lock:
            own = psutil.Process()
            for process in (own, *own.children(recursive=True)):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                self._spent[process] = times.user + times.system
            return sum(self._spent.values())

    def _run(self) -> None:
        while not self._closed.wait(SAMPLE_S):
            self.seconds()


def pin(cores: int) -> None:
    """Restricts this process and its future children to its last `cores` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
