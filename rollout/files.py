"""Files that are whole or absent: written beside their place, then renamed."""

import os
import secrets
from pathlib import Path

from rollout.errors import StorageFault


def write_aside(path: Path, data: bytes, *, durable: bool = True) -> Path:
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
        aside.unlink(missing_ok=True)
        raise StorageFault(f"cannot write {path}: {error.strerror or error}; free space there and resume") from error
    return path
