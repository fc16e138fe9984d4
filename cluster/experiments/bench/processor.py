"""CPU time of this process and its descendants, and their core affinity."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


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


def pin(cores: int) -> None:
    """Restricts this process and its future children to its last `cores` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
