"""The two engines: Chromium with control of its frames, and without; their guarantees and names."""

import hashlib
from pathlib import Path

from actors.browser.chromium.launch import Process

FRAMES = "frames-8"
"""Version of the engine that draws frames on request: increased when a page may render differently, and part of every
cache key."""
FREE = "free-4"
"""Version of the engine without control of frames, likewise."""
GUARANTEES = {
    FRAMES: "frames are drawn on request: the same page gives the same pixels, byte for byte, in every process",
    FREE: "a whole Chromium schedules its own frames: scripts and timers run on page time, and pages that move by CSS, "
    "SVG or scrolling are shown within a frame of it, which may differ between two renders; for pixels that are always "
    "the same, at an eighth of the cost, install chromium-headless-shell",
}
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")


def engine_of(browser: Process) -> str:
    """The engine's version."""
    return FRAMES if browser.framed else FREE


def name_of(browser: Process) -> str:
    """Engine, browser build and fonts: what the pixels of a page depend on."""
    return f"{engine_of(browser)}/{browser.version}/{fonts_hash()[:12]}"


def fonts_hash() -> str:
    """Hash of installed fonts' names and sizes; other fonts give other pixels."""
    files = (path for folder in FONT_FOLDERS for path in Path(folder).rglob("*") if path.is_file())
    listing = sorted(f"{path} {path.stat().st_size}" for path in files)
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()
