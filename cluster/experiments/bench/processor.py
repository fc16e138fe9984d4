"""Processor time of this process and everything it started, and which cores they may use."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Seconds of CPU used so far by this process, its living descendants, and the ended ones that they waited for.

    Linux keeps no account of a process whose parent died first: end what is measured in order.
    """
    total, todo = 0, [os.getpid()]
    while todo:
        process = Path(f"/proc/{todo.pop()}")
        try:
            row = (process / "stat").read_text().rpartition(")")[2].split()
            for thread in (process / "task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        total += sum(map(int, row[11:15]))
    return total / TICKS


def pin(cores: int) -> None:
    """Keeps this process, and all that it starts from now on, on its last `cores` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
