"""What critics cost: judgments, requests and tokens, counted on disk so that restarts and resumes forget nothing."""

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
"""What is counted: pages judged and compared without the help of a cache, then what that took. `retries` are requests
beyond the first of a question, `hedges` those that doubled a straggler."""


class UsageLedger:
    """The accounts of one critic actor, by the name of the critic that was asked. Safe to save from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        """Goes on from the file at `path`; None keeps nothing beyond this process."""
        self.path = path
        self.accounts = read(path) if path is not None else {}
        self._lock = threading.Lock()

    def account(self, name: str) -> Counter[str]:
        """The counts of one critic: add to them, then `save`."""
        return self.accounts.setdefault(name, Counter())

    def save(self) -> None:
        """Writes aside and renames. A disk that takes no more costs the count, not the judgment."""
        if self.path is None or not self.accounts:
            return
        with self._lock:
            row = {name: dict(counts) for name, counts in self.accounts.items()}
            try:
                atomic_write(self.path, json.dumps(row).encode(), durable=False)
            except StorageFault as error:
                logger.warning("what the critics cost is not written down: %r", error)


def read(path: Path) -> dict[str, Counter[str]]:
    """The accounts in a file, by critic; none where there is no file."""
    if not path.exists():
        return {}
    return {name: Counter(counts) for name, counts in json.loads(path.read_bytes()).items()}


def total(paths: Iterable[Path]) -> Counter[str]:
    """What all critics in some files have cost together."""
    return sum((counts for path in paths for counts in read(path).values()), Counter())
