"""Memory of a process: the peak and the total of its device."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory of one learner rank's device in bytes."""

    device: str
    """Name of the GPU; `cpu` without one."""
    peak: int
    """On a GPU, bytes that torch reserved at most; on a CPU, the largest resident size of the process."""
    total: int
    """All memory of the device."""
