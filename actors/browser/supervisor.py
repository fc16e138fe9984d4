"""Keeps one browser running: launches, tests, recycles and replaces it."""

import logging

from actors.browser.chromium.launch import ISOLATIONS, Isolation, Process, find_executable, launch
from actors.browser.engine import GUARANTEES, engine_of, name_of
from actors.browser.render_request import RenderRequest
from actors.browser.visit import FAULTS, PageVisit
from actors.mirror.folder import Mirror
from actors.settings import BrowserSettings
from rollout.errors import BrowserFault
from rollout.records import Page, Render

logger = logging.getLogger(__name__)

CANARY = Page(
    html="<!doctype html><title>Canary</title><body style='margin:40px;background:#fdf6e3'>"
    "<h1 style='color:#268bd2'>The canary sings</h1><div style='width:300px;height:200px;background:#d33682'></div>"
)


class BrowserSupervisor:
    """One browser at a time, used for `recycle_pages` pages, then replaced; `mirror` serves its pages.

    Every browser must render the canary page with the same pixels before its first page.
    """

    def __init__(self, settings: BrowserSettings, mirror: Mirror | None = None) -> None:
        self.settings = settings
        self.mirror = mirror
        self.name = ""
        """Engine, browser build and fonts; empty before the start."""
        self.browser: Process | None = None
        self.stopped = False
        self.pages = 0
        """Pages shown by the current browser."""
        self.canary = ""
        """Hashes of the canary's screenshots; empty before the first."""
        self.news: list[str] = []
        """Messages not yet reported."""
        self._isolation: Isolation | None = None

    async def stop(self) -> None:
        """Stops the browser; a running render raises BrowserFault, and so does `ready` while `stopped`."""
        self.stopped = True
        await self.drop()

    async def ready(self) -> Process:
        """A browser that rendered its canary and is below the page limit. Raises BrowserFault."""
        browser = self.browser
        if browser is not None and browser.alive and self.pages < self.settings.recycle_pages:
            return browser
        if browser is not None and not browser.alive:
            self.news.append("Chromium was lost between two pages; a new one is started")
        await self._drop(browser)
        browser = None if self.stopped else await self._launch()
        self.browser = browser
        if browser is None or self.stopped:
            await self._drop(browser)
            raise BrowserFault("the renderer was stopped, and renders no page until it is started")
        self.pages = 0
        self._introduce(browser)
        await self._test(browser)
        return browser

    async def show(self, request: RenderRequest) -> Render:
        """Renders a page in a ready browser. Raises BrowserFault, and FAULTS of a visit, after which the browser is
        dropped."""
        return await self._show(await self.ready(), request)

    async def drop(self) -> None:
        """Ends the current browser, if any."""
        await self._drop(self.browser)

    async def _drop(self, browser: Process | None) -> None:
        if browser is not None and self.browser is browser:
            self.browser = None
            await browser.end()

    async def _show(self, browser: Process, request: RenderRequest) -> Render:
        """Renders a page in this browser, which is dropped after errors other than the page's, or when it may still
        draw."""
        visit = PageVisit(browser, request, self.mirror)
        self.pages += 1
        try:
            await visit.render()
        except FAULTS:
            await self._drop(browser)
            raise
        finally:
            if not await visit.leave() or visit.outcome.kind == "too_heavy":
                await self._drop(browser)
        return visit.record(self.name)

    def _introduce(self, browser: Process) -> None:
        """Sets the name, logs the engine and its guarantees once, and reports weaker guarantees."""
        engine = engine_of(browser)
        if not self.name.startswith(engine):
            said = f"engine {engine} ({browser.version}): {GUARANTEES[engine]}"
            logger.log(logging.INFO if browser.framed else logging.WARNING, said)
            self.news += [] if browser.framed else [said]
        self.name = name_of(browser)

    async def _test(self, browser: Process) -> None:
        """The canary must render, with the same pixels as before. Raises BrowserFault."""
        settings = self.settings.model_copy(update={"explore": 0})
        try:
            render = await self._show(browser, RenderRequest(page=CANARY, settings=settings, put=bytes))
        except FAULTS as error:
            raise BrowserFault(f"{browser.version} did not render the canary page: {error!r}") from error
        seen = "".join(shot.sha256 for shot in render.shots)
        if render.outcome != "ok":
            fault = f"has the outcome {render.outcome!r} ({render.detail}), wanted 'ok'"
        elif self.canary and seen != self.canary:
            fault = "has other pixels than before, wanted the same"
        else:
            self.canary = seen
            return
        await self._drop(browser)
        raise BrowserFault(
            f"the canary page {fault}, in {browser.version}; its renders are not used: check that browser and fonts "
            "are installed correctly and do not change during a run"
        )

    async def _launch(self) -> Process:
        """Launches with the best isolation this machine supports, and reuses that later."""
        settings = self.settings
        executable = find_executable(settings.executable)
        isolations = ISOLATIONS[:1] if settings.sandbox == "required" else ISOLATIONS
        whole = settings.full_page_px > 0
        faults: list[str] = []
        for isolation in (self._isolation,) if self._isolation else isolations:
            try:
                browser = await launch(executable, memory_mb=settings.memory_mb, isolation=isolation, whole=whole)
            except BrowserFault as error:
                faults.append(str(error))
                continue
            if isolation != ISOLATIONS[0] and self._isolation is None:
                logger.warning("pages are rendered with isolation %r only: %s", isolation.name, "; ".join(faults))
            self._isolation = isolation
            return browser
        raise BrowserFault(f"{executable} cannot be started: {'; '.join(faults)}")
