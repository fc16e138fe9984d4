"""The renderer: pages in Chromium's headless shell, else a whole Chromium, with reproducible pixels."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import reward
from actors.browser.chromium.cdp import BrowserLost
from actors.browser.chromium.page_limits import Stalled
from actors.browser.chromium.scripts import COARSE_FRAMES_PER_S
from actors.browser.chromium.static_page import runs_in_real_time
from actors.browser.engine import FREE
from actors.browser.render_cache import RenderCache, code_hash
from actors.browser.render_request import RenderRequest
from actors.browser.supervisor import BrowserSupervisor
from actors.browser.viewports import screens, with_view
from actors.browser.visit import FAULTS
from actors.mirror.folder import Mirror
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault
from rollout.records import Page, Probe, ProbeResult, Render, Viewport

logger = logging.getLogger(__name__)

JUDGING = code_hash(Path(str(reward.__file__)).parent, sorted(Path(__file__).parent.rglob("*.py")))
"""Hash of the code for flags and blank pages: part of the cache key. Changed rules cannot judge a cached blank page
again, because such a page is not operated."""
LARGEST_HTML = 2_000_000
PING_TIMEOUT_S = 10.0


class ChromiumRenderer:
    """Renders untrusted pages without network and files, on virtual time, each in its own browser context.

    `put` converts PNG bytes to `Shot.picture`. `cache` is the render cache's folder. Raises SettingsError when
    `settings.mirror` is not a mirror.
    """

    def __init__(
        self, settings: BrowserSettings, put: Callable[[bytes], Any] = bytes, cache: Path | None = None
    ) -> None:
        self.settings = settings
        self.put = put
        self.mirror = Mirror(settings.mirror) if settings.mirror is not None else None
        self.supervisor = BrowserSupervisor(settings, self.mirror)
        self._cache = RenderCache(folder=cache, largest_mb=settings.cache_mb, put=put)
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """Engine, browser build and fonts; empty before the start."""
        return self.supervisor.name

    async def start(self) -> None:
        """Launches the browser and renders the canary page. Raises BrowserFault."""
        self.supervisor.stopped = False
        async with self._turn:
            await self.supervisor.ready()

    async def stop(self) -> None:
        """Stops the browser; a running render raises BrowserFault. `start` restarts it."""
        await self.supervisor.stop()

    async def ping(self) -> str:
        """Health check; returns the renderer's name. Replaces a dead browser. Raises BrowserFault."""
        browser = self.supervisor.browser
        if browser is None or not browser.alive:
            async with self._turn:
                browser = await self.supervisor.ready()
        try:
            await asyncio.wait_for(browser.pipe.post("Browser.getVersion"), PING_TIMEOUT_S)
        except (BrowserLost, TimeoutError) as error:
            raise BrowserFault(
                f"browser {self.name} did not answer a ping within {PING_TIMEOUT_S:g} s: {error!r}"
            ) from error
        return self.name

    def news(self) -> tuple[str, ...]:
        """Messages since the last call: lost browsers, and a portable engine."""
        news = tuple(self.supervisor.news)
        self.supervisor.news.clear()
        return news

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`. Raises BrowserFault when the browser is lost twice on one page."""
        if page.html is None:
            raise ValueError("the page has no html; render only pages with html")
        async with self._turn:
            await self.supervisor.ready()
            depends = self.name, JUDGING, self._looks, page.sha256, tuple(probes), tuple(viewports)
            render = await asyncio.to_thread(self._cache.find, *depends)
            if render is not None:
                return render
            pictures: dict[str, bytes] = {}

            def put(png: bytes) -> Any:
                pictures[hashlib.sha256(png).hexdigest()] = png
                return self.put(png)

            first, *further = screens(self.settings, tuple(viewports))
            shared = tuple(probe for probe in probes if not probe.fresh)
            render = await self._proven(RenderRequest(page=page, probes=shared, settings=first, put=put))
            if len(shared) < len(probes) and render.valid:
                render = replace(render, probes=await self._probed(render, page, probes, first))
            for settings in further:
                if render.valid:
                    view = await self._proven(RenderRequest(page=page, settings=settings, put=put))
                    render = with_view(render, view)
            await asyncio.to_thread(self._cache.keep, render, pictures, *depends)
        return render

    async def test(self, page: Page, probe: Probe) -> ProbeResult:
        """Runs a probe on a page that has just been loaded, whatever is wrong with the page.

        Raises BrowserFault as `render` does.
        """
        async with self._turn:
            await self.supervisor.ready()
            return await self._alone(page, probe, self.settings)

    async def _probed(
        self, render: Render, page: Page, probes: Sequence[Probe], settings: BrowserSettings
    ) -> tuple[ProbeResult, ...]:
        """The results of all probes in their order: those of a render, and those on pages of their own."""
        shared = iter(render.probes)
        return tuple([await self._alone(page, probe, settings) if probe.fresh else next(shared) for probe in probes])

    async def _alone(self, page: Page, probe: Probe, settings: BrowserSettings) -> ProbeResult:
        request = RenderRequest(page=page, probes=(probe,), settings=settings, put=bytes, tests_only=True)
        found = (await self._render(request)).probes
        return found[0] if found else ProbeResult(name=probe.name, held=False, inconclusive=True)

    @property
    def _looks(self) -> tuple[object, ...]:
        """Settings that screenshots depend on."""
        settings = self.settings
        mirror = () if self.mirror is None else (self.mirror.hash,)
        size = settings.viewport_width, settings.viewport_height, settings.full_page_px
        return *size, settings.shots_ms, settings.explore, *mirror

    async def _proven(self, request: RenderRequest) -> Render:
        """Renders a page, twice if it may run in real time, and flags differing screenshots as nondeterministic."""
        render = await self._render(request)
        framed = not self.name.startswith(FREE)
        if "coarse_frames" in render.flags or not render.shots or not runs_in_real_time(request.html, framed=framed):
            return render
        settings = request.settings.model_copy(update={"explore": 0, "full_page_height": 0})
        twin = await self._render(replace(request, probes=(), settings=settings, put=bytes))
        return render if timed(render) == timed(twin) else _flagged(render, "nondeterministic")

    async def _render(self, request: RenderRequest) -> Render:
        """Renders a page. One too heavy for all frames is rendered with few and flagged, because a faster machine
        renders all."""
        if len(request.html.encode("utf-8", "replace")) > LARGEST_HTML:
            return Render(
                page_sha256=request.page.sha256,
                outcome="too_large",
                detail=f"the page has more than {LARGEST_HTML:,} bytes",
                renderer=self.name,
            )
        render = await self._tried(request)
        if render.outcome != "too_heavy":
            return render
        render = await self._tried(replace(request, frames_per_s=COARSE_FRAMES_PER_S))
        return _flagged(render, "coarse_frames", "nondeterministic")

    async def _tried(self, request: RenderRequest) -> Render:
        """Renders a page, retrying a crash or stall on a new browser that has just rendered its canary. A second
        failure is the page's fault, unless the page hardly ran."""
        name = request.page.sha256[:12]
        try:
            render = await self.supervisor.show(request)
            if render.outcome != "crash":
                return render
            await self.supervisor.drop()
        except FAULTS as error:
            if isinstance(error, Stalled) and error.heavy:
                return self._unfinished(request.page, error)
            logger.warning("page %s is rendered again in a new browser after %r", name, error)
            if isinstance(error, BrowserLost):
                self.supervisor.news.append(f"Chromium was lost on page {name}, which is rendered again in a new one")
        try:
            return await self.supervisor.show(request)
        except Stalled as error:
            if error.idle:
                raise BrowserFault(f"two browsers stalled on page {name}: {error}") from error
            return self._unfinished(request.page, error)
        except FAULTS as error:
            raise BrowserFault(f"two browsers failed on page {name}, the second with {error!r}") from error

    def _unfinished(self, page: Page, error: Stalled) -> Render:
        base = Render(page_sha256=page.sha256, outcome="timeout", detail=str(error), renderer=self.name)
        return replace(base, outcome="too_heavy") if error.heavy else base


def timed(render: Render) -> tuple[str, ...]:
    """Hashes of the screenshots taken at page times."""
    return tuple(shot.sha256 for shot in render.shots if not shot.label)


def _flagged(render: Render, *flags: str) -> Render:
    return replace(render, flags=tuple(sorted({*render.flags, *flags})))
