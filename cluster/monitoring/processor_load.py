"""Processor load of this machine, from the kernel's tick counters."""

from pathlib import Path


class ProcessorLoad:
    """Measures how busy this machine's processors are, over all processes."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        """`stat` is the kernel's `/proc/stat`; its first line counts ticks by kind, including idle and I/O wait."""
        self.stat = stat
        self.start()

    def start(self) -> None:
        """Starts the measurement."""
        self.used, self.total = self._ticks()

    def busy(self) -> float:
        """Share of processor time in use since the start, in [0, 1]."""
        used, total = self._ticks()
        return (used - self.used) / max(1, total - self.total)

    def _ticks(self) -> tuple[int, int]:
        user, nice, system, idle, waiting, *others = map(int, self.stat.read_text("ascii").split("\n")[0].split()[1:9])
        used = user + nice + system + sum(others)
        return used, used + idle + waiting
