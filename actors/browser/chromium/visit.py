"""Renders one page, from an empty browser context to a Render: loading, screenshots, snapshot, probes."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.browser.chromium import scripts
from actors.browser.chromium.cdp import Answer, BrowserLost, CdpSession, CommandRefused
from actors.browser.chromium.cpu_effort import CpuUse
from actors.browser.chromium.dom_snapshot import Reading, read_document
from actors.browser.chromium.explorer import Explorer
from actors.browser.chromium.input import PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.launch import Process
from actors.browser.chromium.page_monitor import PageMonitor
from actors.browser.chromium.probes import Operator
from actors.browser.chromium.realtime_clock import RealTimeClock
from actors.browser.chromium.static_page import asks_stores, has_frames, has_transitions, is_still
from actors.browser.chromium.virtual_clock import VirtualClock
from actors.browser.chromium.whole_page import WholePage
from actors.mirror.folder import Mirror
from actors.settings import BrowserSettings
from reward.validity import blank_detail, is_blank
from rollout.records import WHOLE_PAGE, ControlTrial, Outcome, Page, Probe, ProbeResult, Render, Shot

LARGEST_HTML = 2_000_000
LARGEST_SIDE = 100_000
LOOK_EVERY_S = 0.25
DISPOSE_TIMEOUT_S = 3.0
CRASH_GRACE_S = 0.5
IDLE_CPU_S = 0.5
"""CPU seconds below which an unfinished page has not run; the slowest benign pages need as much."""


class Stalled(Exception):
    """The wall-clock timeout passed before the CPU budget was used: the page's fault, or the machine's."""

    def __init__(self, wall_s: float, cpu_s: float, *, heavy: bool) -> None:
        super().__init__(f"the page was not done after {wall_s:g} s, with {cpu_s:.1f} s of CPU used")
        self.idle = cpu_s < IDLE_CPU_S
        """Whether the page hardly ran, so another process must have delayed it."""
        self.heavy = heavy and not self.idle
        """Whether frames took the time."""


class PageVisit:
    """One page in its own browser context: create, `render` once, then `leave`."""

    def __init__(
        self,
        browser: Process,
        page: Page,
        settings: BrowserSettings,
        put: Callable[[bytes], Any],
        frames_per_s: int = scripts.FRAMES_PER_S,
        mirror: Mirror | None = None,
    ) -> None:
        self.browser, self.page, self.settings, self.put = browser, page, settings, put
        self.frames_per_s = frames_per_s
        self.started = time.monotonic()
        self.outcome: Outcome = "ok"
        self.detail = ""
        self.shots: list[Shot] = []
        self.blank: list[bool] = []
        """Whether each timed screenshot is blank."""
        self.last = b""
        """PNG of the last timed screenshot, which shows the snapshot's state."""
        self.reading: Reading | None = None
        self.results: list[ProbeResult] = []
        self.explored: list[ControlTrial] = []
        self.explorer: Explorer | None = None
        self.judged = False
        """Whether timed screenshots and snapshot exist: later faults cost probes, not validity."""
        self.effort = CpuUse(browser.pipe)
        self.context = self.frame = ""
        self.session = CdpSession(browser.pipe, "")
        self.over = asyncio.Event()
        self.witness = PageMonitor(self.page.html or "", self.url, self.end, mirror)
        self.clock = (VirtualClock if browser.framed else RealTimeClock)(self.witness.settled)

    @property
    def url(self) -> str:
        """The page's secure origin, the same for each render."""
        return f"https://{self.page.sha256[:12]}.test/"

    def end(self, outcome: Outcome, detail: str) -> None:
        """Stops the page. The first reason counts; a judged page stays valid."""
        if self.over.is_set():
            return
        self.over.set()
        self.detail = detail
        if not self.judged:
            self.outcome = outcome

    async def render(self, probes: tuple[Probe, ...]) -> None:
        """Raises BrowserLost, CommandRefused, NoPicture or Stalled, which may be the browser's fault."""
        work, watch = asyncio.create_task(self._work(probes)), asyncio.create_task(self._watch())
        over = asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({work, watch, over}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), CommandRefused):
                await asyncio.wait({over}, timeout=CRASH_GRACE_S)  # a crash event may follow the failed command
            if not self.over.is_set():
                (work if work.done() else watch).result()
        finally:
            for task in (work, watch, over):
                task.cancel()
            await asyncio.gather(work, watch, over, return_exceptions=True)

    async def leave(self) -> bool:
        """Disposes of the context, even of a hung page; False when the browser could not."""
        pipe = self.browser.pipe
        pipe.forget(self.session.id)
        if not self.context:
            return self.browser.alive
        try:
            await asyncio.wait_for(
                pipe.post("Target.disposeBrowserContext", {"browserContextId": self.context}), DISPOSE_TIMEOUT_S
            )
        except (TimeoutError, BrowserLost, CommandRefused):
            return False
        return True

    def record(self, probes: tuple[Probe, ...], renderer: str) -> Render:
        """The Render of all observations; probes that did not run do not hold."""
        size = (self.settings.viewport_width, self.settings.viewport_height)
        reading: Any = self.reading or {}
        missed = (ProbeResult(name=probe.name, held=False, detail=self.detail) for probe in probes)
        if self.explorer is not None and self.explorer.at:
            self.explored.append(ControlTrial(control=self.explorer.at, detail=self.detail))
        return Render(
            page_sha256=self.page.sha256,
            outcome=self.outcome,
            detail="" if self.outcome == "ok" else self.detail,
            shots=tuple(self.shots),
            viewport=size,
            console=tuple(self.witness.console),
            exceptions=tuple(self.witness.exceptions),
            blocked=tuple(self.witness.blocked),
            probes=(*self.results, *tuple(missed)[len(self.results) :]),
            explored=tuple(self.explored),
            flags=tuple(sorted(self.witness.flags)),
            renderer=renderer,
            seconds=time.monotonic() - self.started,
            cpu_seconds=self.effort.cpu_s,
            **reading,
        )

    async def _work(self, probes: tuple[Probe, ...]) -> None:
        await self._open()
        await self.browser.pipe.post("Page.navigate", {"url": self.url}, self.session.id)
        if not await self.clock.prime(self.witness.ready):
            self.witness.flags.add("nondeterministic")
        if asks_stores(self.witness.html):
            self.clock.stores = partial(await IsolatedWorld.open(self.session, self.frame), scripts.ASK_STORES)
        if has_transitions(self.witness.html):
            self.clock.transition = partial(await IsolatedWorld.open(self.session, self.frame), scripts.ASK_TRANSITION)
        await self._look()
        world = await IsolatedWorld.open(self.session, self.frame)
        self.reading = await read_document(self.session, world, self.witness.html)
        self._judge_pictures()
        self.judged = True
        await self.effort.count()
        if self.outcome == "ok":
            await self._show_whole(world)
            await (self._operate(world, probes) if probes else self._explore(world, self.settings.explore))

    async def _look(self) -> None:
        """Takes the timed screenshots; a page that cannot change is captured once."""
        first, *later = self.settings.shots_ms
        png = await self.clock.picture_at(first)
        self._keep(png, first)
        self._judge_load()
        if later and is_still(self.witness.html):
            await self.clock.skip(later[-1])
            for at_ms in later:
                self._keep(png, at_ms)
            return
        for at_ms in later:
            self._keep(await self.clock.picture_at(at_ms), at_ms)

    async def _show_whole(self, world: IsolatedWorld) -> None:
        """Takes a full-page screenshot of a taller page, unless over half its CPU budget is used."""
        settings, most = self.settings, self.settings.full_page_height or 0
        if not most or self.reading is None or self.effort.cpu_s > settings.cpu_budget_s / 2:
            return
        size = settings.viewport_width, settings.viewport_height
        whole = await WholePage(self.clock, world, size, most).picture(self.last, still=is_still(self.witness.html))
        if whole is not None:
            png, reach = whole
            self.reading["document"] = (self.reading["document"][0], reach)
            self._keep(png, round(self.clock.now), WHOLE_PAGE, min(reach, most))

    async def _operate(self, world: IsolatedWorld, probes: tuple[Probe, ...]) -> None:
        operator = Operator(PageInput(self.session, self.clock), self.clock, world)
        for probe in probes:
            self.results.append(await operator.perform(probe))

    async def _explore(self, world: IsolatedWorld, most: int) -> None:
        """Operates up to `most` controls. A link that leaves the page is no flag here."""
        flags = set(self.witness.flags)
        self.explorer = Explorer(PageInput(self.session, self.clock), self.clock, world, self.witness)
        async for seen, png in self.explorer.explore(most):
            self.explored.append(seen)
            self._keep(png, round(self.clock.now), seen.control)
            self.witness.flags -= {"nav_away"} - flags

    async def _open(self) -> None:
        """A new context, target and session, with listeners attached and time stopped."""
        pipe, settings = self.browser.pipe, self.settings
        await self.effort.start()
        self.context = (await pipe.post("Target.createBrowserContext", {"disposeOnDetach": True}))["browserContextId"]
        target = await pipe.post(
            "Target.createTarget",
            {
                "url": "about:blank",
                "browserContextId": self.context,
                "width": settings.viewport_width,
                "height": settings.viewport_height,
                "enableBeginFrameControl": True,
            },
        )
        attached = await pipe.post("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        self.session = session = CdpSession(pipe, attached["sessionId"])
        self.frame = target["targetId"]  # a target has the id of its main frame
        self.witness.attend(session, self.frame)
        commands = self._prepare(session)
        await self.clock.start(session)
        await asyncio.gather(*commands)

    def _prepare(self, session: CdpSession) -> list[Answer]:
        """Sends the commands needed before navigation, all at once."""
        commands = [
            session.post("Page.enable"),
            session.post("Runtime.enable"),
            session.post("Inspector.enable"),
            session.post("Network.enable"),
            session.post("Fetch.enable", patterns=[{"urlPattern": "*"}]),
            session.post("Emulation.setLocaleOverride", locale="en-US"),
            session.post("Emulation.setTimezoneOverride", timezoneId="UTC"),
            session.post("Runtime.addBinding", name=scripts.READY_BINDING, executionContextName=scripts.READY_WORLD),
            session.post("Page.addScriptToEvaluateOnNewDocument", source=scripts.READY, worldName=scripts.READY_WORLD),
            session.post("Page.addScriptToEvaluateOnNewDocument", source=scripts.shims(self.frames_per_s)),
            session.pipe.post("Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": self.context}),
        ]
        if not self.browser.framed:  # a whole browser's viewport is smaller than its window
            size = {"width": self.settings.viewport_width, "height": self.settings.viewport_height}
            commands.append(
                session.post("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
            )
        return commands

    def _keep(self, png: bytes, at_ms: int, label: str = "", height: int = 0) -> None:
        digest = hashlib.sha256(png).hexdigest()
        twin = next((i for i, shot in enumerate(self.shots) if shot.sha256 == digest), None)
        if not label:
            self.blank.append(is_blank(png) if twin is None else self.blank[twin])
            self.last = png
        self.shots.append(
            Shot(
                at_ms=at_ms,
                sha256=digest,
                width=self.settings.viewport_width,
                height=height or self.settings.viewport_height,
                picture=self.put(png) if twin is None else self.shots[twin].picture,
                label=label,
            )
        )

    def _judge_load(self) -> None:
        """After the first screenshot: exceptions thrown so far make the page invalid; screenshots continue."""
        if self.witness.thrown:
            self.outcome, self.detail = "exception", self.witness.thrown[0]

    def _judge_pictures(self) -> None:
        """After screenshots and snapshot: rejects pages that are blank, navigate away or are too large."""
        width, height = (self.reading or {"document": (0, 0)})["document"]
        if self.outcome != "ok":
            return
        if "nav_away" in self.witness.flags:
            self.outcome, self.detail = "blocked_navigation", f"the page tried to leave for {self.witness.left_for}"
        elif max(width, height) > LARGEST_SIDE:
            self.outcome, self.detail = "too_large", f"the document is {width} x {height} pixels"
        elif said := blank_detail(self.shots, self.blank):
            self.outcome, self.detail = "blank", said

    async def _watch(self) -> None:
        """Ends a page that used up its CPU budget. Raises Stalled on the wall-clock timeout."""
        budget, wall = self.settings.cpu_budget_s, self.settings.wall_s
        while (passed := time.monotonic() - self.started) < wall:
            await asyncio.sleep(LOOK_EVERY_S)
            if passed < 0.8 * budget:  # CPU time cannot exceed wall time, except with threads
                continue
            await self.effort.count()
            if self.effort.cpu_s > budget:
                used = f"the page used more than {budget:g} s of CPU"
                frames = f", {self.frames_per_s} frames a second of page time"
                return self.end("too_heavy", used + frames) if self._heavy() else self.end("timeout", used)
        await self.effort.count()
        raise Stalled(wall, self.effort.cpu_s, heavy=self._heavy())

    def _heavy(self) -> bool:
        """Whether frames took the time: the GPU process used over half of it, or page time advances on a page that may
        animate."""
        now = time.monotonic()
        moving = now - self.clock.moved < (now - self.started) / 2 and has_frames(self.witness.html)
        return self.effort.gpu_s > self.effort.cpu_s / 2 or moving
