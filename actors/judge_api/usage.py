"""Usage of critics (judgments, requests, tokens), on disk across restarts and resumes."""

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
"""Pages judged and compared without the cache, then the cost. `retries` are requests after a question's first, `hedges`
duplicates of slow ones."""


class UsageLedger:
    """Usage counters of one critic actor, by critic name. Safe to save from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        """Continues from the file at `path`; None counts in memory only."""
        self.path = path
        self.accounts = read(path) if path is not None else {}
        self._lock = threading.Lock()

    def account(self, name: str) -> Counter[str]:
        """Counters of one critic; call `save` after adding to them."""
        return self.accounts.setdefault(name, Counter())

    def save(self) -> None:
        """Writes the counters atomically. A full disk loses only the counts."""
        if self.path is None or not self.accounts:
            return
        with self._lock:
            row = {name: dict(counts) for name, counts in self.accounts.items()}
            try:
                atomic_write(self.path, json.dumps(row).encode(), durable=False)
            except StorageFault as error:
                logger.warning("cannot save the critics' usage counters: %r", error)


def read(path: Path) -> dict[str, Counter[str]]:
    """Counters in a file by critic; empty without a file."""
    if not path.exists():
        return {}
    return {name: Counter(counts) for name, counts in json.loads(path.read_bytes()).items()}


def total(paths: Iterable[Path]) -> Counter[str]:
    """Summed counters of all critics in several files."""
    return sum((counts for path in paths for counts in read(path).values()), Counter())
