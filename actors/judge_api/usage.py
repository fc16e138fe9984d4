"""Usage of critics (judgments, requests, tokens), saved on disk so that restarts and resumes keep the counts."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rollout.errors import StorageFault
from rollout.files import atomic_write

logger = logging.getLogger(__name__)
COUNTED = ("judgments", "comparisons", "requests", "retries", "hedges", "tokens")
"""Counters: pages judged and compared without a cache hit, then the requests and tokens used. `retries` are requests
after the first of a question, `hedges` second requests sent because the first was slow."""


class UsageLedger:
    """Usage counters of one critic actor, by critic name. Safe to save from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        """Continues from the file at `path`; None keeps counters in memory only."""
        self.path = path
        self.accounts = read(path) if path is not None else {}
        self._lock = threading.Lock()

    def account(self, name: str) -> Counter[str]:
        """Counters of one critic: add to them, then call `save`."""
        return self.accounts.setdefault(name, Counter())

    def save(self) -> None:
        """Writes the counters atomically. A full disk is logged and loses the counts, not the judgment."""
        if self.path is None or not self.accounts:
            return
        with self._lock:
            row = {name: dict(counts) for name, counts in self.accounts.items()}
            try:
                atomic_write(self.path, json.dumps(row).encode(), durable=False)
            except StorageFault as error:
                logger.warning("what the critics cost is not written down: %r", error)


def read(path: Path) -> dict[str, Counter[str]]:
    """Reads counters from a file, by critic; empty when the file does not exist."""
    if not path.exists():
        return {}
    return {name: Counter(counts) for name, counts in json.loads(path.read_bytes()).items()}


def total(paths: Iterable[Path]) -> Counter[str]:
    """Sum of the counters of all critics in several files."""
    return sum((counts for path in paths for counts in read(path).values()), Counter())
