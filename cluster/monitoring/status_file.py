"""`status.json` of a run: current stage, progress and actors, for other processes; `cluster.watch` shows it.

The file is replaced atomically, once a second if it changed, and every BEAT_S seconds in any case: a file that is older
than that belongs to a run that was killed or lost its storage.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from cluster.storage.store import Store
from rollout.errors import StorageFault

STATUS = "status.json"
EVERY_S = 1.0
"""Minimum seconds between two writes."""
BEAT_S = 10.0
"""Maximum seconds between two writes."""


class StatusFile:
    """Writes a run's status in a thread, so that no step waits for the storage."""

    def __init__(self, store: Store, progress: Callable[[], dict[str, Any]]) -> None:
        """`progress` returns the stage and its progress; see `cluster.monitoring.display.Display.progress_now`."""
        self.store, self.progress = store, progress
        self._pools: dict[str, dict[str, int]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="status", daemon=True)
        self._thread.start()

    def health(self, pool: str, well: int, lost: int) -> None:
        """Sets the number of healthy actors of a pool, and of lost ones not restarted yet."""
        self._pools[pool] = {"healthy": well, "lost": lost}

    def close(self, status: str) -> None:
        """Writes the final status: `finished`, `stopped` or `failed`. Idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            self._write({"status": status, "pools": {}})

    def _refresh(self) -> None:
        last: dict[str, Any] = {}
        written = 0.0
        while not self._closed.wait(EVERY_S):
            now = {"status": "running", **self.progress(), "pools": dict(self._pools)}
            if now != last or time.monotonic() - written > BEAT_S:
                self._write(now)
                last, written = now, time.monotonic()

    def _write(self, values: dict[str, Any]) -> None:
        try:
            self.store.write_json(STATUS, {**values, "time": time.time()}, durable=False)
        except StorageFault:
            return  # The run's own writes report a full disk; the next write may succeed.
