"""A file of JSON lines that grows while a benchmark runs, and survives an interrupted write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollout.errors import StorageFault
from rollout.files import atomic_write


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Appends one object. Raises StorageFault."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StorageFault(f"cannot write {path}: {error.strerror or error}; free space there") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file in order; empty without a file. Removes a last line that an interruption cut."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = []
    data = path.read_bytes()
    whole = 0
    for line in data.splitlines(keepends=True):
        try:
            found.append(json.loads(line))
        except ValueError:
            atomic_write(path, data[:whole])
            break
        whole += len(line)
    return found
