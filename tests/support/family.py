"""Descendant processes of a test, found by their parents, so that no other process is killed."""

import contextlib
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

import psutil

LOOK_S = 0.2
"""Interval of the scans. A process stays known after its first scan, even if its ancestors have died."""
ENDING_S = 20.0
"""Time limit for processes to exit."""


class ProcessFamily:
    """Descendants that this process gains while the context is open; the remaining ones are killed at exit."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children(recursive=True))
        self._known: set[psutil.Process] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._eye = threading.Thread(target=self._watch, name="family", daemon=True)

    def __enter__(self) -> Self:
        self._eye.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._eye.join()
        self.kill()

    def members(self, name: str = "") -> dict[psutil.Process, str]:
        """Live processes with `name` in the command line, oldest first, so that parents come before children."""
        self._look()
        found: dict[psutil.Process, str] = {}
        for process in sorted(self._known.copy(), key=lambda one: (one.create_time(), one.pid)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                line = " ".join(process.cmdline())
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE and name in line:
                    found[process] = line
        return found

    def kill(self, name: str = "", most: int | None = None) -> int:
        """Kills the `most` oldest (default: all) with -9. Returns the number."""
        chosen = list(self.members(name))[:most]
        for process in chosen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return len(chosen)

    def below(self, process: psutil.Process) -> list[psutil.Process]:
        """A process and its descendants: a simulated machine if the process is the root of one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [process, *process.children(recursive=True)]
        return []

    def left_behind(self, names: tuple[str, ...] = ("",), but: tuple[str, ...] = ()) -> list[str]:
        """Command lines of processes alive after ENDING_S that contain one of `names` and none of `but`."""

        def counts(line: str) -> bool:
            return any(name in line for name in names) and not any(name in line for name in but)

        deadline = time.monotonic() + ENDING_S
        while lines := list(filter(counts, self.members().values())):
            if time.monotonic() > deadline:
                return lines
            time.sleep(0.5)
        return []

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        children: dict[int, list[psutil.Process]] = defaultdict(list)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                children[process.ppid()].append(process)
        with self._lock:
            self._known = {process for process in self._known if process.is_running()}
            parents = [psutil.Process(), *self._known]
            while parents:
                born = [child for child in children.pop(parents.pop().pid, []) if child not in self._before]
                self._known |= set(born)
                parents += born
