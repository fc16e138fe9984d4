"""A JavaScript world on a page's document, isolated from the page's scripts."""

from typing import Any

from actors.browser.chromium.cdp import CdpSession, CommandRefused
from actors.browser.chromium.scripts import READER_WORLD


class IsolatedWorld:
    """Evaluates scripts with access to the document, not to the page's variables and patches."""

    def __init__(self, session: CdpSession, context: int) -> None:
        self.session = session
        self.context = context

    @classmethod
    async def open(cls, session: CdpSession, frame: str) -> "IsolatedWorld":
        """A new world on the document in `frame`."""
        answer = await session.post("Page.createIsolatedWorld", frameId=frame, worldName=READER_WORLD)
        return cls(session, answer["executionContextId"])

    async def __call__(self, expression: str) -> Any:
        """JSON value of an expression or its promise. Raises CommandRefused when the script throws."""
        answer = await self.session.post(
            "Runtime.evaluate", expression=expression, contextId=self.context, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise CommandRefused(details.get("exception", {}).get("description", details.get("text", "")))
        return answer["result"].get("value")
