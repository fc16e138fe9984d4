"""The renderer: pages in Chromium's headless shell, else a whole Chromium, with reproducible pixels."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import reward
from actors.browser.chromium.cdp import BrowserLost, CommandRefused
from actors.browser.chromium.launch import ISOLATIONS, Isolation, Process, find_executable, launch
from actors.browser.chromium.scripts import COARSE_FRAMES_PER_S, FRAMES_PER_S
from actors.browser.chromium.static_page import STORES
from actors.browser.chromium.viewports import screens, with_view
from actors.browser.chromium.virtual_clock import NoPicture
from actors.browser.chromium.visit import LARGEST_HTML, PageVisit, Stalled
from actors.browser.render_cache import RenderCache, code_hash
from actors.mirror.folder import Mirror
from actors.settings import BrowserSettings
from reward.hacks import hacking_flags
from rollout.errors import BrowserFault
from rollout.records import Page, Probe, Render, Viewport

logger = logging.getLogger(__name__)

FRAMES, FREE = "frames-8", "free-4"
"""The two engines' versions, increased when a page may render differently; part of every cache key."""
_HERE = Path(__file__)
JUDGING = code_hash(Path(str(reward.__file__)).parent, [_HERE, *sorted(_HERE.with_name("chromium").glob("*.py"))])
"""Hash of the code for flags and blank pages: part of the cache key. Changed rules cannot judge a cached blank page
again, because such a page is not operated."""
GUARANTEES = {
    FRAMES: "frames and page time are ours: the same page gives the same pixels, byte for byte, in every process",
    FREE: "a whole Chromium draws when it likes: scripts and timers are on page time, and pages that move by CSS, SVG "
    "or scrolling are shown within a frame of it, which may differ between two renders; for pixels that are always the "
    "same, and an eighth of the cost, install chromium-headless-shell",
}
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
REAL_TIME = re.compile(
    r"\bWorker\b|\bSharedWorker\b|\bWorklet\b|webgl|webgpu|\bWebAssembly\b|\bAudioContext\b|<(?:video|audio)\b"
    r"|getEntries|PerformanceObserver|performance\.(?:timing|memory|toJSON)|\bgenerateKey\b"
    rf"|{STORES.pattern}",
    re.IGNORECASE,
)
"""Signs of what virtual time does not control: worker threads, GPU emulation, media, databases, the browser's
measurements of itself, unpredictable keys."""
FREE_TIME = re.compile(
    rf"{REAL_TIME.pattern}|animat|transition|smooth|<marquee|<progress|autofocus|toBlob", re.IGNORECASE
)
"""Signs of what virtual time does not control either when frames are not controlled."""
PING_TIMEOUT_S = 10.0
FAULTS = (BrowserLost, CommandRefused, NoPicture, Stalled)
"""Errors that may be the browser's fault; the page is retried."""
CANARY = Page(
    html="<!doctype html><title>Canary</title><body style='margin:40px;background:#fdf6e3'>"
    "<h1 style='color:#268bd2'>The canary sings</h1><div style='width:300px;height:200px;background:#d33682'></div>"
)


class ChromiumRenderer:
    """Renders untrusted pages without network and files, on virtual time, each in its own browser context.

    `put` converts PNG bytes to `Shot.picture`. `cache` is the render cache's folder. Raises SettingsError when
    `settings.mirror` is not a mirror.
    """

    def __init__(
        self, settings: BrowserSettings, put: Callable[[bytes], Any] = bytes, cache: Path | None = None
    ) -> None:
        self.settings, self.put = settings, put
        self.mirror = Mirror(settings.mirror) if settings.mirror is not None else None
        self._cache = RenderCache(cache, settings.cache_mb, put)
        self.name = ""
        """Engine, browser build and fonts; empty before the start."""
        self._browser: Process | None = None
        self._fence: Isolation | None = None
        self._stopped = False
        self._pages = 0
        self._canary = ""
        self._turn = asyncio.Lock()
        self._news: list[str] = []

    async def start(self) -> None:
        """Launches the browser and renders the canary page. Raises BrowserFault."""
        self._stopped = False
        async with self._turn:
            await self._ready()

    async def stop(self) -> None:
        """Stops the browser; a running render raises BrowserFault. `start` restarts it."""
        self._stopped = True
        await self._drop(self._browser)

    async def ping(self) -> str:
        """Health check; returns the renderer's name. Replaces a dead browser. Raises BrowserFault."""
        browser = self._browser
        if browser is None or not browser.alive:
            async with self._turn:
                browser = await self._ready()
        try:
            await asyncio.wait_for(browser.pipe.post("Browser.getVersion"), PING_TIMEOUT_S)
        except (BrowserLost, TimeoutError) as error:
            raise BrowserFault(f"{self.name} does not answer: {error!r}") from error
        return self.name

    def news(self) -> tuple[str, ...]:
        """Messages since the last call: lost browsers, and a portable engine."""
        news, self._news = self._news, []
        return tuple(news)

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`. Raises BrowserFault when the browser is lost twice on one page."""
        if page.html is None:
            raise ValueError("a page without html cannot be rendered")
        async with self._turn:
            await self._ready()
            depends = self.name, JUDGING, self._looks, page.sha256, tuple(probes), tuple(viewports)
            render = await asyncio.to_thread(self._cache.find, *depends)
            if render is not None:
                return render
            pictures: dict[str, bytes] = {}
            first, *further = screens(self.settings, tuple(viewports))
            render = await self._proven(page, tuple(probes), first, pictures)
            for settings in further:
                if render.valid:
                    render = with_view(render, await self._proven(page, (), settings, pictures))
            await asyncio.to_thread(self._cache.keep, render, pictures, *depends)
        return render

    @property
    def _looks(self) -> tuple[object, ...]:
        """Settings that screenshots depend on."""
        settings = self.settings
        mirror = () if self.mirror is None else (self.mirror.hash,)
        size = settings.viewport_width, settings.viewport_height, settings.full_page_height or 0
        return *size, settings.shots_ms, settings.explore, *mirror

    async def _proven(
        self, page: Page, probes: tuple[Probe, ...], settings: BrowserSettings, pictures: dict[str, bytes]
    ) -> Render:
        """Renders a page, twice if it may run in real time, and flags differing screenshots as nondeterministic."""

        def put(png: bytes) -> Any:
            pictures[hashlib.sha256(png).hexdigest()] = png
            return self.put(png)

        render = await self._render(page, probes, settings, put)
        signs = FREE_TIME if self.name.startswith(FREE) else REAL_TIME
        if "coarse_frames" in render.flags or not render.shots or not signs.search(page.html or ""):
            return render
        twin = await self._render(page, (), settings.model_copy(update={"explore": 0, "full_page_height": 0}), bytes)
        if timed(render) == timed(twin):
            return render
        return replace(render, flags=tuple(sorted({*render.flags, "nondeterministic"})))

    async def _render(
        self, page: Page, probes: tuple[Probe, ...], settings: BrowserSettings, put: Callable[[bytes], Any]
    ) -> Render:
        """Renders a page. One too heavy for all frames is rendered with few and flagged, because a faster machine
        renders all."""
        if len((page.html or "").encode("utf-8", "replace")) > LARGEST_HTML:
            return Render(
                page_sha256=page.sha256,
                outcome="too_large",
                detail=f"the page has more than {LARGEST_HTML:,} bytes",
                renderer=self.name,
            )
        render = await self._tried(page, probes, settings, put, FRAMES_PER_S)
        if render.outcome != "too_heavy":
            return render
        render = await self._tried(page, probes, settings, put, COARSE_FRAMES_PER_S)
        return replace(render, flags=tuple(sorted({*render.flags, "coarse_frames", "nondeterministic"})))

    async def _tried(
        self,
        page: Page,
        probes: tuple[Probe, ...],
        settings: BrowserSettings,
        put: Callable[[bytes], Any],
        frames_per_s: int,
    ) -> Render:
        """Renders a page, retrying a crash or stall on a new browser that has just rendered its canary. A second
        failure is the page's fault, unless the page hardly ran."""
        try:
            render = await self._show(await self._ready(), page, probes, settings, put, frames_per_s)
            if render.outcome != "crash":
                return render
            await self._drop(self._browser)
        except FAULTS as error:
            if isinstance(error, Stalled) and error.heavy:
                return self._unfinished(page, error)
            logger.warning("page %s is tried again on a fresh browser: %r", page.sha256[:12], error)
            if isinstance(error, BrowserLost):
                self._news.append(f"Chromium was lost over page {page.sha256[:12]}, which another shows")
        try:
            return await self._show(await self._ready(), page, probes, settings, put, frames_per_s)
        except Stalled as error:
            if error.idle:
                raise BrowserFault(f"two browsers stood still over page {page.sha256[:12]}: {error}") from error
            return self._unfinished(page, error)
        except FAULTS as error:
            raise BrowserFault(f"two browsers were lost over page {page.sha256[:12]}: {error!r}") from error

    def _unfinished(self, page: Page, error: Stalled) -> Render:
        base = Render(page_sha256=page.sha256, outcome="timeout", detail=str(error), renderer=self.name)
        return replace(base, outcome="too_heavy") if error.heavy else base

    async def _show(
        self,
        browser: Process,
        page: Page,
        probes: tuple[Probe, ...],
        settings: BrowserSettings,
        put: Callable[[bytes], Any],
        frames_per_s: int = FRAMES_PER_S,
    ) -> Render:
        """Renders a page in this browser, which is dropped after errors other than the page's, or when it may still
        draw."""
        visit = PageVisit(browser, page, settings, put, frames_per_s, self.mirror)
        self._pages += 1
        try:
            await visit.render(probes)
        except FAULTS:
            await self._drop(browser)
            raise
        finally:
            if not await visit.leave() or visit.outcome == "too_heavy":
                await self._drop(browser)
        render = visit.record(probes, self.name)
        return replace(render, flags=tuple(sorted({*render.flags, *hacking_flags(page, render, visit.last)})))

    async def _drop(self, browser: Process | None) -> None:
        if browser is not None and self._browser is browser:
            self._browser = None
            await browser.end()

    async def _ready(self) -> Process:
        """A browser that rendered its canary and is below the page limit."""
        browser = self._browser
        if browser is not None and browser.alive and self._pages < self.settings.recycle_pages:
            return browser
        if browser is not None and not browser.alive:
            self._news.append("Chromium was lost between two pages; another takes over")
        await self._drop(browser)
        browser = None if self._stopped else await self._launch()
        self._browser = browser
        if browser is None or self._stopped:
            await self._drop(browser)
            raise BrowserFault("the browser was stopped")
        self._pages = 0
        self._introduce(browser)
        await self._sing(browser)
        return browser

    def _introduce(self, browser: Process) -> None:
        """Sets the name, logs the engine and its guarantees once, and reports weaker guarantees."""
        engine = FRAMES if browser.framed else FREE
        if not self.name.startswith(engine):
            said = f"engine {engine} ({browser.version}): {GUARANTEES[engine]}"
            logger.log(logging.INFO if browser.framed else logging.WARNING, said)
            self._news += [] if browser.framed else [said]
        self.name = f"{engine}/{browser.version}/{fonts_hash()[:12]}"

    async def _sing(self, browser: Process) -> None:
        """Self-test: the canary must render, with the same pixels as before. Raises BrowserFault."""
        try:
            render = await self._show(browser, CANARY, (), self.settings.model_copy(update={"explore": 0}), bytes)
        except FAULTS as error:
            raise BrowserFault(f"{browser.version} cannot render a known page: {error!r}") from error
        seen = "".join(shot.sha256 for shot in render.shots)
        if render.outcome != "ok":
            fault = f"comes out as {render.outcome!r} ({render.detail}), not 'ok'"
        elif self._canary and seen != self._canary:
            fault = "has other pixels than before"
        else:
            self._canary = seen
            return
        await self._drop(browser)
        raise BrowserFault(f"a known page {fault} in {browser.version}: this browser cannot be trusted with scores")

    async def _launch(self) -> Process:
        """Launches with the best isolation this machine supports, and reuses that later."""
        executable = find_executable(self.settings.executable)
        fences = ISOLATIONS[:1] if self.settings.sandbox == "required" else ISOLATIONS
        memory_mb, whole, faults = self.settings.memory_mb, bool(self.settings.full_page_height), list[str]()
        for fence in (self._fence,) if self._fence else fences:
            try:
                browser = await launch(executable, memory_mb=memory_mb, fence=fence, whole=whole)
            except BrowserFault as error:
                faults.append(str(error))
                continue
            if fence != ISOLATIONS[0] and self._fence is None:
                logger.warning("pages are rendered behind fence %r only: %s", fence.name, "; ".join(faults))
            self._fence = fence
            return browser
        raise BrowserFault(f"{executable} cannot be started: {'; '.join(faults)}")


def timed(render: Render) -> tuple[str, ...]:
    """Hashes of the screenshots taken at page times."""
    return tuple(shot.sha256 for shot in render.shots if not shot.label)


def fonts_hash() -> str:
    """Hash of installed fonts' names and sizes; other fonts give other pixels."""
    files = (path for folder in FONT_FOLDERS for path in Path(folder).rglob("*") if path.is_file())
    listing = sorted(f"{path} {path.stat().st_size}" for path in files)
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()
