"""Monitors a page's console, exceptions, dialogs, requests and navigation, and answers its requests."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from actors.browser.chromium.cdp import CdpSession
from actors.browser.chromium.scripts import ASKED
from actors.mirror.folder import Mirror
from rollout.records import Outcome
from rollout.refusals import ADDRESS_KEPT, NOT_MIRRORED

MOST_LINES = 100
MOST_REQUESTS = 50
MOST_DIALOGS = 20
MOST_NOISE = 500
"""Console lines and exceptions after which events are disabled."""
PATIENCE_S = 0.5
"""Longest wait for the page to receive its refusals, in seconds."""
POLICY = "sandbox allow-scripts allow-same-origin allow-modals allow-forms allow-pointer-lock"
"""Content-Security-Policy of every page: neither popups nor downloads."""
End = Callable[[Outcome, str], None]
Params = dict[str, Any]
MIRRORED = ("Script", "Stylesheet", "Font")
"""Request kinds served by a mirror."""


class PageMonitor:
    """Serves the page once, and the mirror's files; refuses other requests; records events within limits.

    `end` is called when the page must stop: a dialog flood, a crash or a replaced document.
    """

    def __init__(self, html: str, url: str, end: End, mirror: Mirror | None = None) -> None:
        self.html = html
        self.url = url
        self.end = end
        self.mirror = mirror
        self.console: list[str] = []
        self.exceptions: list[str] = []
        """All uncaught exceptions and rejected promises."""
        self.thrown: list[str] = []
        """The first exception thrown, not rejected."""
        self.blocked: list[str] = []
        self.flags: set[str] = set()
        self.left_for = ""
        """First URL of an attempted navigation."""
        self.ready = asyncio.Event()
        """Set once the document's first frame has run."""
        self.answers = 0
        """Requests whose end the page has received."""
        self._open: set[str] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._dialogs = 0
        self._noise = 0
        self._served = False

    def attend(self, session: CdpSession, frame: str) -> None:
        """Subscribes to events of the target with main frame `frame`."""
        self.session = session
        self.frame = frame
        for method, handler in (
            ("Fetch.requestPaused", self._request),
            ("Network.requestWillBeSent", self._record_open),
            ("Network.loadingFinished", self._heard),
            ("Network.loadingFailed", self._heard),
            ("Network.webSocketCreated", self._socket),
            ("Page.frameNavigated", self._navigated),
            ("Page.javascriptDialogOpening", self._dialog),
            ("Runtime.bindingCalled", lambda _: self.ready.set()),
            ("Runtime.consoleAPICalled", self._add_console),
            ("Runtime.exceptionThrown", self._throw),
            ("Inspector.targetCrashed", lambda _: self.end("crash", "the page's process died")),
        ):
            session.on(method, handler)

    def _request(self, event: Params) -> None:
        document = event["resourceType"] == "Document"
        own = document and event["frameId"] == self.frame
        request = event["requestId"]
        url = event["request"]["url"]
        if own and not self._served and url == self.url:
            self._served = True
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
            self._fulfill(request, self.html.encode("utf-8", "replace"), headers)
            return
        if self.mirror is not None and not document and event["request"]["method"] == "GET":
            answer = self.mirror.answer(url)
            if answer is not None:
                headers = {"Content-Type": answer.media_type, "Access-Control-Allow-Origin": "*"}
                self._fulfill(request, answer.body, headers)
                return
        if own:
            self._leave(url)
        self._refuse("Frame" if document and not own else event["resourceType"], url)
        reason = "Aborted" if document else "BlockedByClient"
        self.session.post("Fetch.failRequest", requestId=request, errorReason=reason)

    def _fulfill(self, request: str, body: bytes, headers: dict[str, str]) -> None:
        named = [{"name": name, "value": value} for name, value in headers.items()]
        encoded = base64.b64encode(body).decode()
        self.session.post(
            "Fetch.fulfillRequest", requestId=request, responseCode=200, responseHeaders=named, body=encoded
        )

    def _record_open(self, event: Params) -> None:
        """Records an open request; sent by the page's process, so before the event that its time budget expired."""
        self._open.add(event["requestId"])
        self._quiet.clear()

    def _heard(self, event: Params) -> None:
        """Records the end of a request, as received by the page."""
        self.answers += 1
        self._open.discard(event["requestId"])
        if not self._open:
            self._quiet.set()

    async def settled(self) -> int:
        """Number of ended requests, once none is open or a timeout passed; the last may have led to another."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._quiet.wait()
        except TimeoutError:
            self._open.clear()
            self._quiet.set()
        return self.answers

    def _socket(self, event: Params) -> None:
        self._refuse("WebSocket", event["url"])

    def _refuse(self, kind: str, url: str) -> None:
        if len(self.blocked) < MOST_REQUESTS:
            missed = self.mirror is not None and kind in MIRRORED and not url.startswith(self.url)
            self.blocked.append(f"{kind} {url[:ADDRESS_KEPT]}{NOT_MIRRORED if missed else ''}")

    def _navigated(self, event: Params) -> None:
        """Ends a page that replaced its document; blank and blob addresses make no request."""
        frame = event["frame"]
        if frame["id"] == self.frame and self._served and not frame["url"].startswith(self.url):
            self._leave(frame["url"])
            self.end("blocked_navigation", f"the page replaced itself with {self.left_for}")

    def _leave(self, url: str) -> None:
        self.flags.add("nav_away")
        self.left_for = self.left_for or url[:ADDRESS_KEPT]

    def _dialog(self, event: Params) -> None:
        """Accepts a dialog; a prompt is answered with its default text."""
        proposed = str(event.get("defaultPrompt", ""))
        self.session.post("Page.handleJavaScriptDialog", accept=True, promptText=proposed)
        self._dialogs += 1
        if self._dialogs > MOST_DIALOGS:
            self.flags.add("dialog_flood")
            self.end("timeout", "dialog flood")

    def _add_console(self, event: Params) -> None:
        if event["args"] and event["args"][0].get("value") == ASKED:
            self.flags.add("looks_for_tester")
            return
        words = (str(word.get("value", word.get("description", "")))[:200] for word in event["args"][:5])
        self._note(self.console, f"{event['type']}: {' '.join(words)}")

    def _throw(self, event: Params) -> None:
        details = event["exceptionDetails"]
        message = (details.get("exception", {}).get("description") or details.get("text", ""))[:300]
        self._note(self.exceptions, message)
        if "in promise" not in details.get("text", "") and not self.thrown:
            self.thrown.append(message)

    def _note(self, lines: list[str], line: str) -> None:
        if len(lines) < MOST_LINES:
            lines.append(line)
        self._noise += 1
        if self._noise == MOST_NOISE:
            self.flags.add("console_flood")
            self.session.post("Runtime.disable")
