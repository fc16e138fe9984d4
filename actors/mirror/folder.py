"""The mirror's folder: pinned npm packages on disk, found by public CDN addresses."""

import functools
import hashlib
import json
import mimetypes
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.mirror import modules
from actors.mirror.addresses import FileRequest, Nothing, WantedFonts, parse
from actors.mirror.versions import choose
from actors.mirror.versions import parse as version_key
from rollout.errors import SettingsError

INDEX = "mirror.json"
SCRIPT = "text/javascript; charset=utf-8"
TYPES = {
    ".js": SCRIPT,
    ".mjs": SCRIPT,
    ".cjs": SCRIPT,
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".woff": "font/woff",
    ".ttf": "font/ttf",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
FONT_PACKAGES = "@fontsource/"


@dataclass(frozen=True, slots=True)
class Answer:
    """A file that a page receives from the mirror."""

    body: bytes
    media_type: str


class Mirror:
    """Answers CDN requests from a folder built by `cluster.mirror`, without network access."""

    def __init__(self, folder: Path) -> None:
        """Raises SettingsError when `folder` is not a complete mirror."""
        self.folder = folder.resolve()
        self.versions = _read_index(self.folder)
        digest = hashlib.sha256((self.folder / INDEX).read_bytes())
        self.hash = digest.hexdigest()[:16]
        """Hash of the index: part of every render's cache key."""
        self._module = functools.lru_cache(maxsize=256)(self._build_module)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Libraries for pages, as in the policy's prompt, without fonts. Example: `three (0.128.0, 0.160.1)`."""
        return tuple(
            f"{package} ({', '.join(sorted(versions, key=version_key))})"
            for package, versions in sorted(self.versions.items())
            if not package.startswith(FONT_PACKAGES)
        )

    @property
    def fonts(self) -> tuple[str, ...]:
        """Families of Google Fonts by their names in addresses. Example: `("inter", "playfair-display")`."""
        return tuple(
            sorted(name.removeprefix(FONT_PACKAGES) for name in self.versions if name.startswith(FONT_PACKAGES))
        )

    def answer(self, url: str) -> Answer | None:
        """The file at a public address; None if not mirrored, like a 404."""
        match parse(url):
            case Nothing():
                return Answer(b"", SCRIPT)
            case WantedFonts(faces=faces):
                return self._font_styles(faces)
            case FileRequest() as wanted:
                return self._file(wanted, url)
        return None

    def _file(self, wanted: FileRequest, url: str) -> Answer | None:
        version = choose(wanted.version, self.versions.get(wanted.package, ()))
        if version is None:
            return None
        if wanted.module:
            return self._as_module(wanted, version, url)
        paths = wanted.paths or (modules.browser_entry(self._manifest(wanted.package, version)),)
        for path in paths:
            body = self._read(wanted.package, version, path)
            if body is not None:
                return Answer(body, _media_type(path))
        return None

    def _as_module(self, wanted: FileRequest, version: str, url: str) -> Answer | None:
        """A module under its canonical address, or one that re-exports it under others."""
        path = self._module_path(wanted.package, version, wanted.paths[0] if wanted.paths else "")
        source = self._text(wanted.package, version, path) if path else None
        if path is None or source is None:
            return None
        canonical = modules.address(wanted.package, version, path)
        if path.endswith(".css"):
            return Answer(source.encode(), TYPES[".css"])
        text = self._module(wanted.package, version, path) if url == canonical else modules.reexport(canonical, source)
        return Answer(text.encode(), SCRIPT)

    def _module_path(self, package: str, version: str, subpath: str) -> str | None:
        """A module's file, possibly named without extension."""
        found = modules.entry(self._manifest(package, version), subpath)
        tries = (found, subpath, f"{found}.js", f"{found}.mjs", f"{found}/index.js")
        return next((path for path in tries if path and self._read(package, version, path) is not None), None)

    def _build_module(self, package: str, version: str, path: str) -> str:
        manifest = self._manifest(package, version)
        ranges: dict[str, str] = {**manifest.get("peerDependencies", {}), **manifest.get("dependencies", {})}

        def locate(name: str) -> str | None:
            parts = name.split("/")
            size = 2 if name.startswith("@") else 1
            other, subpath = "/".join(parts[:size]), "/".join(parts[size:])
            chosen = version if other == package else choose(ranges.get(other, ""), self.versions.get(other, ()))
            file = self._module_path(other, chosen, subpath) if chosen else None
            return modules.address(other, chosen, file) if chosen and file else None

        source = self._text(package, version, path) or ""
        return modules.serve(source, path, lambda name: self._text(package, version, name), locate)

    def _font_styles(self, faces: tuple[tuple[str, int, bool], ...]) -> Answer | None:
        """One style sheet of the mirrored faces, with files under Google's address."""
        sheets: dict[str, str] = {}
        for family, weight, italic in faces:
            package = f"{FONT_PACKAGES}{family.strip().lower().replace(' ', '-')}"
            version = choose("", self.versions.get(package, ()))
            name = f"{weight}{'-italic' if italic else ''}.css"
            text = self._text(package, version, name) if version else None
            if text is not None:
                files = f"https://fonts.gstatic.com/s/{package.replace('/', '~')}/files/"
                sheets[f"{package} {name}"] = text.replace("url(./files/", f"url({files}")
        return Answer("\n".join(sheets.values()).encode(), TYPES[".css"]) if sheets else None

    def _manifest(self, package: str, version: str) -> dict[str, Any]:
        text = self._text(package, version, "package.json")
        found = json.loads(text) if text else {}
        return found if isinstance(found, dict) else {}

    def _text(self, package: str, version: str, path: str) -> str | None:
        body = self._read(package, version, path)
        return None if body is None else body.decode("utf-8", "replace")

    def _read(self, package: str, version: str, path: str) -> bytes | None:
        """A file's bytes; None if it is no file or outside its package."""
        home = self.folder / f"{package}@{version}"
        try:
            file = (home / path).resolve()
            return file.read_bytes() if file.is_relative_to(home) and file.is_file() else None
        except (OSError, ValueError):  # an invalid file name
            return None


def _media_type(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _read_index(folder: Path) -> dict[str, list[str]]:
    """Mirrored versions by package. Raises SettingsError when the index is unreadable or packages are missing."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = [str(name) for name in index["packages"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"browser.mirror is {str(folder)!r}, which has no readable {INDEX} ({error}); "
            "wanted a folder that `python -m cluster.mirror build` made"
        ) from error
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise SettingsError(
            f"browser.mirror {str(folder)!r} lacks {len(missing)} of its {len(names)} packages, such as "
            f"{missing[0]}; run `python -m cluster.mirror build` again"
        )
    versions: dict[str, list[str]] = defaultdict(list)
    for name in names:
        package, _, version = name.rpartition("@")
        versions[package].append(version)
    return dict(versions)
