"""Atomic checkpoint directories: written to a temporary directory, checksummed, fsynced, renamed; verified on load."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout.errors import CheckpointError, StorageFault

MANIFEST = "manifest.json"
"""File name → {"bytes", "sha256"} of every other file in the directory."""
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}

PROBE_BYTES = 1 << 20


def aside(path: Path) -> Path:
    """The temporary directory that is later renamed to `path`."""
    return path.with_name(f".tmp-{path.name}")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yields an empty directory that replaces `path` when the block completes.

    Raises StorageFault when the disk is full or refuses the write. No temporary files remain after an error.
    """
    filling = aside(path)
    old = path.with_name(f".old-{path.name}")
    try:
        for stale in (filling, old):
            shutil.rmtree(stale, ignore_errors=True)
        filling.mkdir(parents=True)
        yield filling
        _seal(filling)
        if path.exists():
            path.rename(old)
        filling.rename(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except Exception as error:
        refusal = _refusal(error, filling)
        if not refusal:
            raise
        raise StorageFault(f"cannot write {path}: {refusal}; free space there and resume") from error
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def verify(path: Path) -> None:
    """Checks every file of a directory against its manifest.

    Raises CheckpointError with the damaged file, its actual and expected checksum, and the newest intact older
    checkpoint.
    """
    problem = _problem(path)
    if problem:
        sound = _newest_sound(path.parent, before=path.name)
        advice = "no older checkpoint is intact"
        if sound:
            advice = f"remove {path}* to continue from {sound.name}, the newest intact older checkpoint"
        raise CheckpointError(f"{path}: {problem}; {advice}")


def _refusal(error: Exception, folder: Path) -> str:
    """The disk's reason for a failed write; empty when the error is not a disk error.

    Libraries wrap disk errors in their own, which may quote the reason. Otherwise a probe file is written, which can
    succeed if space has been freed since.
    """
    if quoted := [reason for reason in map(os.strerror, sorted(DISK_ERRORS)) if reason in str(error)]:
        return quoted[0]
    try:
        if isinstance(error, OSError):
            raise error
        (folder / "probe").write_bytes(bytes(PROBE_BYTES))
    except OSError as found:
        return os.strerror(found.errno) if found.errno in DISK_ERRORS else ""
    return ""


def _newest_sound(folder: Path, before: str) -> Path | None:
    found = sorted((path for path in folder.glob("[!.]*") if path.is_dir()), reverse=True)
    older = (path for path in found if path.name < before)
    return next((path for path in older if not _problem(path)), None)


def _problem(path: Path) -> str:
    """The problem of a directory; empty if it is intact."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        for name, wanted in manifest.items():
            got = _describe(path / name)
            if got != wanted:
                return f"{name} is damaged: got {_say(got)}, wanted {_say(wanted)}"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(path)} is missing"
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        return f"not readable ({type(error).__name__}: {error})"
    return ""


def _seal(folder: Path) -> None:
    """Writes the manifest and fsyncs every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {str(path.relative_to(folder)): _describe(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for path in (*files, folder / MANIFEST, *(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(path)


def _describe(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _say(file: dict[str, int | str]) -> str:
    return f"{file['bytes']} bytes of sha256 {str(file['sha256'])[:12]}…"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
