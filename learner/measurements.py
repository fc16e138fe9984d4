"""Measurements inside a learner rank: peak memory, and the speed of the link to the other ranks."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torch import distributed as dist

from learner.memory_use import MemoryUse

STATUS = Path("/proc/self/status")
RESTART = Path("/proc/self/clear_refs")
PROBES = 9
"""Transfers that measure a link; their median counts."""


def memory_use(device: str, *, restart: bool = False) -> MemoryUse:
    """Peak memory since the process started or the last `restart`, which begins a new measurement afterwards."""
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        found = MemoryUse(device=gpu.name, peak=torch.cuda.max_memory_reserved(), total=gpu.total_memory)
        if restart:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return found
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines() if ":" in line)
    found = MemoryUse(device="cpu", peak=int(lines["VmHWM"].split()[0]) * 1024, total=psutil.virtual_memory().total)
    if restart:
        with suppress(OSError):  # a container may forbid it; the peak is then that since the start
            RESTART.write_text("5")  # resets the peak of the resident size to its present value
    return found


def release_memory(device: str) -> None:
    """Returns blocks that torch's allocator caches to the device; no effect on a CPU."""
    if device == "cuda":
        torch.cuda.empty_cache()


def link_bytes_per_s(size: int, device: str) -> float:
    """Bytes a second of a broadcast of `size` bytes from rank 0 to all ranks; with one rank, of a copy on its device.

    Every rank must call it.
    """
    if dist.get_world_size() == 1:
        return copy_bytes_per_s(size, device)
    sent = torch.ones(size, dtype=torch.uint8, device=device)
    return size / _median_s(lambda: dist.broadcast(sent, 0), device)


def copy_bytes_per_s(size: int, device: str = "cpu") -> float:
    """Bytes a second of a copy of `size` bytes in the memory of a device."""
    there = torch.ones(size, dtype=torch.uint8, device=device)
    here = torch.zeros_like(there)
    return size / _median_s(lambda: here.copy_(there), device)


def _median_s(transfer: Callable[[], Any], device: str) -> float:
    """Median seconds of a transfer; the first does not count."""
    taken = []
    for _ in range(PROBES + 1):
        _wait(device)
        started = time.perf_counter()
        transfer()
        _wait(device)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
