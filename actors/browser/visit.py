"""Renders one page, from an empty browser context to a Render: loading, screenshots, snapshot, probes."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from actors.browser.chromium import scripts
from actors.browser.chromium.cdp import BrowserLost, CommandRefused
from actors.browser.chromium.cpu_effort import CpuUse
from actors.browser.chromium.dom_snapshot import Reading, read_document
from actors.browser.chromium.explorer import Explorer
from actors.browser.chromium.input import PageInput
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.launch import Process
from actors.browser.chromium.page_limits import PageLimits, Stalled
from actors.browser.chromium.page_monitor import PageMonitor
from actors.browser.chromium.page_target import PageTarget
from actors.browser.chromium.probes import Operator
from actors.browser.chromium.realtime_clock import RealTimeClock
from actors.browser.chromium.static_page import asks_stores, has_transitions, is_still
from actors.browser.chromium.virtual_clock import NoPicture, VirtualClock
from actors.browser.chromium.whole_page import WholePage
from actors.browser.page_outcome import PageOutcome
from actors.browser.render_request import RenderRequest
from actors.browser.screenshots import Screenshots
from actors.mirror.folder import Mirror
from reward.hacks import hacking_flags
from rollout.records import WHOLE_PAGE, ControlTrial, ProbeResult, Render

CRASH_GRACE_S = 0.5
FAULTS = (BrowserLost, CommandRefused, NoPicture, Stalled)
"""Errors of a visit that may be the browser's fault; the page is retried."""


class PageVisit:
    """One page in its own browser context: create, `render` once, then `leave`."""

    def __init__(self, browser: Process, request: RenderRequest, mirror: Mirror | None = None) -> None:
        self.request = request
        self.settings = request.settings
        self.outcome = PageOutcome()
        self.monitor = PageMonitor(html=request.html, url=request.url, end=self.outcome.end, mirror=mirror)
        self.clock = (VirtualClock if browser.framed else RealTimeClock)(self.monitor.settled)
        self.target = PageTarget(browser, request.size)
        self.cpu = CpuUse(browser.pipe)
        self.limits = PageLimits(
            self.cpu, self.clock, request.settings, html=request.html, frames_per_s=request.frames_per_s
        )
        self.screenshots = Screenshots(request.size, request.put)
        self.reading: Reading | None = None
        self.results: list[ProbeResult] = []
        self.explored: list[ControlTrial] = []
        self.explorer: Explorer | None = None

    async def render(self) -> None:
        """Loads, captures and operates the page, until it ends or must stop. Raises FAULTS."""
        over = self.outcome.over
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(self.limits.watch(self.outcome.end))
        end = asyncio.create_task(over.wait())
        try:
            await asyncio.wait({work, watch, end}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), CommandRefused):
                await asyncio.wait({end}, timeout=CRASH_GRACE_S)  # a crash event may follow the failed command
            if not over.is_set():
                (work if work.done() else watch).result()
        finally:
            for task in (work, watch, end):
                task.cancel()
            await asyncio.gather(work, watch, end, return_exceptions=True)

    async def leave(self) -> bool:
        """Disposes of the context, even of a hung page; False when the browser could not."""
        return await self.target.close()

    def record(self, renderer: str) -> Render:
        """The Render of all observations; probes that did not run do not hold."""
        reading: Any = self.reading or {}
        detail = self.outcome.detail
        missed = [
            ProbeResult(name=probe.name, held=False, detail=detail, inconclusive=True) for probe in self.request.probes
        ]
        if self.explorer is not None and self.explorer.at:
            self.explored.append(ControlTrial(control=self.explorer.at, detail=detail))
        render = Render(
            page_sha256=self.request.page.sha256,
            outcome=self.outcome.kind,
            detail="" if self.outcome.kind == "ok" else detail,
            shots=tuple(self.screenshots.shots),
            viewport=self.request.size,
            console=tuple(self.monitor.console),
            exceptions=tuple(self.monitor.exceptions),
            blocked=tuple(self.monitor.blocked),
            probes=tuple(self._told_apart([*self.results, *missed[len(self.results) :]])),
            explored=tuple(self.explored),
            flags=tuple(sorted(self.monitor.flags)),
            renderer=renderer,
            seconds=self.limits.seconds,
            cpu_seconds=self.cpu.cpu_s,
            **reading,
        )
        if self.request.tests_only:
            return render
        hacks = hacking_flags(self.request.page, render, self.screenshots.last)
        return replace(render, flags=tuple(sorted({*render.flags, *hacks})))

    def _told_apart(self, results: list[ProbeResult]) -> list[ProbeResult]:
        """Nothing can be said about a failed probe of a page that lacks one of its scripts."""
        lacks = any(line.startswith("Script ") for line in self.monitor.blocked)
        return [replace(result, inconclusive=not result.held) if lacks else result for result in results]

    async def _work(self) -> None:
        await self._load()
        if self.request.tests_only:
            await self.clock.picture_at(0)
            await self._operate(await self.target.world())
            return
        await self._take_timed()
        world = await self.target.world()
        self.reading = await read_document(self.target.session, world, self.request.html)
        shots = self.screenshots
        self.outcome.judge_pictures(self.reading["document"], self.monitor.left_for, shots.shots, shots.blank)
        await self.cpu.count()
        if self.outcome.kind == "ok":
            await self._take_whole(world)
            await (self._operate(world) if self.request.probes else self._explore(world, self.settings.explore))

    async def _load(self) -> None:
        """Navigates a new target, with listeners attached and time stopped, until the document's first frame."""
        await self.cpu.start()
        session = await self.target.open()
        self.monitor.attend(session, self.target.frame)
        commands = self.target.prepare(self.request.frames_per_s)
        await self.clock.start(session)
        await asyncio.gather(*commands)
        await session.post("Page.navigate", url=self.request.url)
        if not await self.clock.prime(self.monitor.ready):
            self.monitor.flags.add("nondeterministic")
        if asks_stores(self.request.html):
            self.clock.stores = partial(await self.target.world(), scripts.ASK_STORES)
        if has_transitions(self.request.html):
            self.clock.transition = partial(await self.target.world(), scripts.ASK_TRANSITION)

    async def _take_timed(self) -> None:
        """Takes the timed screenshots; a page that cannot change is captured once."""
        first, *later = self.settings.shots_ms
        png = await self.clock.picture_at(first)
        self.screenshots.keep(png, first)
        self.outcome.judge_load(self.monitor.thrown)
        if later and is_still(self.request.html):
            await self.clock.skip(later[-1])
            for at_ms in later:
                self.screenshots.keep(png, at_ms)
            return
        for at_ms in later:
            self.screenshots.keep(await self.clock.picture_at(at_ms), at_ms)

    async def _take_whole(self, world: IsolatedWorld) -> None:
        """Takes a full-page screenshot of a taller page, unless over half its CPU budget is used."""
        most = self.settings.full_page_px
        if not most or self.reading is None or self.cpu.cpu_s > self.settings.cpu_budget_s / 2:
            return
        page = WholePage(self.clock, world, size=self.request.size, most=most)
        whole = await page.picture(self.screenshots.last, still=is_still(self.request.html))
        if whole is not None:
            png, reach = whole
            self.reading["document"] = (self.reading["document"][0], reach)
            self.screenshots.keep(png, round(self.clock.now), WHOLE_PAGE, min(reach, most))

    async def _operate(self, world: IsolatedWorld) -> None:
        """Runs the probes."""
        operator = Operator(PageInput(self.target.session, self.clock), self.clock, world)
        for probe in self.request.probes:
            self.results.append(await operator.perform(probe))

    async def _explore(self, world: IsolatedWorld, most: int) -> None:
        """Operates up to `most` controls. A link that leaves the page is no flag here."""
        flags = set(self.monitor.flags)
        self.explorer = Explorer(PageInput(self.target.session, self.clock), self.clock, world, self.monitor)
        async for seen, png in self.explorer.explore(most):
            self.explored.append(seen)
            self.screenshots.keep(png, round(self.clock.now), seen.control)
            self.monitor.flags -= {"nav_away"} - flags
