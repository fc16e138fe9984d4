"""CPU time of this process and its descendants, and their core affinity."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25
"""Interval of the samples of CpuSampler."""


def cpu_seconds() -> float:
    """CPU seconds of this process, its live descendants, and descendants that were waited for.

    Linux loses the CPU time of a process if its parent ended first: end measured processes before their parents.
    """
    return sum(sum(times) for _, times in _tree()) / TICKS


def _tree() -> Iterator[tuple[tuple[int, int], tuple[int, ...]]]:
    """Yields this process and its live descendants: id with start time, and ticks: own user, own system, then those of
    descendants that were waited for."""
    todo = [os.getpid()]
    while todo:
        number = todo.pop()
        process = Path(f"/proc/{number}")
        try:
            row = (process / "stat").read_text().rpartition(")")[2].split()
            for thread in (process / "task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # the process ended in the meantime
            continue
        yield (number, int(row[19])), tuple(map(int, row[11:15]))


class CpuSampler:
    """Context that samples the CPU time of all descendants, so that a process that is killed is counted until then."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, int], int] = {}
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
            self._spent |= {process: user + system for process, (user, system, *_) in _tree()}
            return sum(self._spent.values()) / TICKS

    def _run(self) -> None:
        while not self._closed.wait(SAMPLE_S):
            self.seconds()


def pin(cores: int) -> None:
    """Restricts this process and its future children to its last `cores` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
