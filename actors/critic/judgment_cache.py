"""Judgment cache on disk: equal requests are not paid for twice."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from reward.multimodal.pairs import ANSWERS, Better
from rollout.errors import StorageFault
from rollout.files import atomic_write
from rollout.records import Critique

logger = logging.getLogger(__name__)
Kept = TypeVar("Kept")
KNOWN: dict[str, Better] = {better: better for better in ANSWERS.values()}


class JudgmentCache:
    """Critiques and preferences, one JSON file per request. Safe to share between processes."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, key: str) -> Critique | None:
        """The critique of a request, at 0 tokens; None if missing or unreadable."""
        return self._read(key, _critique)

    def keep(self, key: str, critique: Critique) -> None:
        """Stores a critique atomically. A full disk loses only the cache entry."""
        row = {name: getattr(critique, name) for name in Critique.__dataclass_fields__ if name != "members"}
        self._write(key, {**row, "parts": dict(critique.parts)})

    def find_better(self, key: str) -> Better | None:
        """The preferred page; None if missing or unreadable."""
        return self._read(key, lambda row: KNOWN[row["better"]])

    def keep_better(self, key: str, better: Better) -> None:
        """Stores the preferred page; see `keep`."""
        self._write(key, {"better": better})

    def _read(self, key: str, read: Callable[[dict[str, Any]], Kept]) -> Kept | None:
        if self.folder is None:
            return None
        try:
            return read(json.loads(self._path(key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("cannot read cached judgment %s, requesting it again: %r", key[:12], error)
            return None

    def _write(self, key: str, row: dict[str, Any]) -> None:
        if self.folder is None:
            return
        try:
            atomic_write(self._path(key), json.dumps(row).encode(), durable=False)
        except StorageFault as error:
            logger.warning("cannot store judgment %s in the cache: %r", key[:12], error)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"


def _critique(row: dict[str, Any]) -> Critique:
    lists = {name: tuple(row.get(name, ())) for name in ("feedback", "scores")}
    return Critique(**{**row, **lists, "tokens": 0})
