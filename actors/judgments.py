"""Judgments on disk, by the hash of all that they depend on: what was judged once is not paid for again."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollout.errors import StorageFault
from rollout.files import write_aside
from rollout.records import Critique

logger = logging.getLogger(__name__)


class JudgmentCache:
    """A folder of critiques, one JSON file a question. Safe to share between processes."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def find(self, key: str) -> Critique | None:
        """The critique of a question, at no cost; None for one never asked, or a file that cannot be read."""
        if self.folder is None:
            return None
        try:
            row: dict[str, Any] = json.loads(self._path(key).read_text(encoding="utf-8"))
            critique = Critique(**{**row, "feedback": tuple(row["feedback"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("judgment %s is asked for again, its file cannot be read: %r", key[:12], error)
            return None
        return replace(critique, tokens=0)

    def keep(self, key: str, critique: Critique) -> None:
        """Writes aside and renames. A disk that takes no more costs money, not the judgment."""
        if self.folder is None:
            return
        path = self._path(key)
        row = {name: getattr(critique, name) for name in Critique.__dataclass_fields__}
        try:
            write_aside(path, json.dumps({**row, "parts": dict(critique.parts)}).encode(), durable=False)
        except StorageFault as error:
            logger.warning("judgment %s is not kept: %r", key[:12], error)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"
