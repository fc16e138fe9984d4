"""Atomic file writes: a temporary file in the same folder, then a rename."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from rollout.errors import StorageFault


def atomic_write(path: Path, data: bytes, *, durable: bool = True) -> Path:
    """Writes to a temporary file in the same folder, then renames it. Raises StorageFault.

    An error leaves no partial file. `durable` calls fsync; files that can be recreated do not need it.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):  # The file may not exist, or removal may fail for the same reason.
            aside.unlink()
        raise StorageFault(f"cannot write {path}: {error.strerror or error}; free space there and resume") from error
    return path
