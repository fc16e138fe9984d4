"""Render cache on disk, keyed by the hash of everything a render depends on, shared between runs."""

import ast
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rollout.errors import StorageFault
from rollout.files import atomic_write
from rollout.records import Render, Shot

logger = logging.getLogger(__name__)

FLEETING = ("timeout", "crash", "too_heavy", "too_large")
"""Outcomes not cached: they depend on the machine, except the last, which needs no browser."""
KEPT_SHARE = 0.8
"""Fraction of its maximum size to which a full folder is trimmed."""
RENDER = TypeAdapter(Render)


class RenderCache:
    """Renders as JSON files, with their pictures by content hash. Safe to share between browsers.

    `put` converts PNG bytes to `Shot.picture`. Without a folder or size, nothing is cached.
    """

    def __init__(self, folder: Path | None, largest_mb: int, put: Callable[[bytes], Any]) -> None:
        self.folder = folder if largest_mb > 0 else None
        self.largest = largest_mb << 20
        self.put = put
        self._written = self.largest
        """Bytes written since the last measurement; initially the maximum, so that every start measures the folder."""

    def find(self, *depends: object) -> Render | None:
        """The render for a key; None if missing or unreadable."""
        if self.folder is None:
            return None
        path = self._path(self.folder, depends)
        try:
            render = RENDER.validate_json(path.read_bytes())
            shots = tuple(replace(shot, picture=self.put(self._picture(shot))) for shot in render.shots)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError) as error:
            logger.warning(
                "cached render %s cannot be read, so the page is rendered again: %s",
                path.name,
                str(error).partition("\n")[0],
            )
            return None
        return replace(render, shots=shots, seconds=0.0, cpu_seconds=0.0)

    def keep(self, render: Render, pictures: dict[str, bytes], *depends: object) -> None:
        """Stores a render with its pictures by hash. A full disk loses only the cache entry."""
        if self.folder is None or render.outcome in FLEETING or "nondeterministic" in render.flags:
            return
        bare = replace(render, shots=tuple(replace(shot, picture=None) for shot in render.shots))
        try:
            for name, png in pictures.items():
                if not (path := self._png(name)).exists():
                    self._written += len(png)
                    atomic_write(path, png, durable=False)
            atomic_write(self._path(self.folder, depends), RENDER.dump_json(bare), durable=False)
            if self._written >= self.largest * (1 - KEPT_SHARE):
                self._trim(self.folder)
        except (OSError, StorageFault) as error:
            logger.warning("the render of page %s is not cached: %s", render.page_sha256[:12], error)

    def _picture(self, shot: Shot) -> bytes:
        path = self._png(shot.sha256)
        png = path.read_bytes()
        if hashlib.sha256(png).hexdigest() != shot.sha256:
            path.unlink(missing_ok=True)
            raise ValueError(f"the content of picture {shot.sha256[:12]} has another hash")
        os.utime(path)
        return png

    def _trim(self, folder: Path) -> None:
        """Deletes the least recently used files until the folder is small enough."""
        self._written = 0
        files = sorted(_files(folder))
        total = sum(size for _, size, _ in files)
        if total <= self.largest:
            return
        for _, size, path in files:
            path.unlink(missing_ok=True)
            total -= size
            if total <= self.largest * KEPT_SHARE:
                return

    def _png(self, sha256: str) -> Path:
        assert self.folder is not None
        return self.folder / "pictures" / sha256[:2] / f"{sha256}.png"

    @staticmethod
    def _path(folder: Path, depends: tuple[object, ...]) -> Path:
        key = hashlib.sha256(repr(depends).encode("utf-8", "backslashreplace")).hexdigest()
        return folder / "renders" / key[:2] / f"{key}.json"


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, bytes and path of each file; skips files deleted meanwhile."""
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            yield status.st_mtime, status.st_size, path


def code_hash(package: Path, importers: Sequence[Path]) -> str:
    """Hash of the sources of a package's modules that `importers` import, at any depth."""
    waiting = list[str]()
    sources = dict[str, bytes]()
    for importer in importers:
        waiting += _imports(importer.read_bytes(), package.name)
    while waiting:
        name = waiting.pop()
        path = package.parent.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in sources or not path.is_file():  # A name defined in a module, not a module.
            continue
        sources[name] = path.read_bytes()
        waiting += _imports(sources[name], package.name)
    return hashlib.sha256(b"".join(name.encode() + sources[name] for name in sorted(sources))).hexdigest()


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Absolute names imported from a package: modules, and names defined in them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == package)
