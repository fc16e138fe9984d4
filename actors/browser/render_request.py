"""The request to render a page once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.browser.chromium.scripts import FRAMES_PER_S
from actors.settings import BrowserSettings
from rollout.records import Page, Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """A page with its probes and settings. `put` converts PNG bytes to `Shot.picture`."""

    page: Page
    probes: tuple[Probe, ...] = ()
    settings: BrowserSettings
    put: Callable[[bytes], Any]
    tests_only: bool = False
    """Runs the probes just after loading, without judging the page or taking screenshots."""
    frames_per_s: int = FRAMES_PER_S
    """Animation callbacks per second of page time."""

    @property
    def html(self) -> str:
        """The page's source."""
        return self.page.html or ""

    @property
    def url(self) -> str:
        """The page's secure origin, the same for each render."""
        return f"https://{self.page.sha256[:12]}.test/"

    @property
    def size(self) -> tuple[int, int]:
        """The viewport in CSS pixels."""
        return self.settings.viewport_width, self.settings.viewport_height
