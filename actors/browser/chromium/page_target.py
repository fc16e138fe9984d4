"""A page's own browser context, its target and the DevTools session attached to it."""

import asyncio

from actors.browser.chromium import scripts
from actors.browser.chromium.cdp import Answer, BrowserLost, CdpSession, CommandRefused
from actors.browser.chromium.isolated_world import IsolatedWorld
from actors.browser.chromium.launch import Process

DISPOSE_TIMEOUT_S = 3.0


class PageTarget:
    """One target in its own browser context: `open`, `prepare`, then `close`. `size` is the viewport in CSS pixels."""

    def __init__(self, browser: Process, size: tuple[int, int]) -> None:
        self.browser = browser
        self.width, self.height = size
        self.context = ""
        self.frame = ""
        self.session = CdpSession(browser.pipe, "")

    async def open(self) -> CdpSession:
        """Creates context and target, and attaches to the target. Raises BrowserLost and CommandRefused."""
        pipe = self.browser.pipe
        self.context = (await pipe.post("Target.createBrowserContext", {"disposeOnDetach": True}))["browserContextId"]
        target = await pipe.post(
            "Target.createTarget",
            {
                "url": "about:blank",
                "browserContextId": self.context,
                "width": self.width,
                "height": self.height,
                "enableBeginFrameControl": True,
            },
        )
        attached = await pipe.post("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        self.session = CdpSession(pipe, attached["sessionId"])
        self.frame = target["targetId"]  # a target has the id of its main frame
        return self.session

    def prepare(self, frames_per_s: int) -> list[Answer]:
        """Sends the commands needed before navigation, all at once."""
        session = self.session
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
            session.post("Page.addScriptToEvaluateOnNewDocument", source=scripts.shims(frames_per_s)),
            session.pipe.post("Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": self.context}),
        ]
        if not self.browser.framed:  # a whole browser's viewport is smaller than its window
            size = {"width": self.width, "height": self.height}
            commands.append(
                session.post("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
            )
        return commands

    async def world(self) -> IsolatedWorld:
        """A new isolated world of the main frame."""
        return await IsolatedWorld.open(self.session, self.frame)

    async def close(self) -> bool:
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
