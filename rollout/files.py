"""Files that are whole or absent: written beside their place, then renamed."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from rollout.errors import StorageFault


def atomic_write(path: Path, data: bytes, *, durable: bool = True) -> Path:
    """Writes a file beside its place, then renames it. Raises StorageFault; nothing half-written remains.

    `durable` waits until the bytes are on the disk; what can be made again need not.
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
        with suppress(OSError):  # It may not be there, or not be removable for the same reason.
            aside.unlink()
        raise StorageFault(f"cannot write {path}: {error.strerror or error}; free space there and resume") from error
    return path
