"""A JavaScript world on a page's document, isolated from the page's scripts."""

from collections.abc import Mapping
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

    async def call_on(self, function: str, element: str) -> Any:
        """JSON value of a function of the page's own world, called with the element of an expression of this world.

        An empty expression calls the function without an argument. Raises CommandRefused when it throws.
        """
        if not element:
            main = await self.session.post(
                "Runtime.evaluate", expression=f"({function})()", returnByValue=True, awaitPromise=True
            )
            return _value(main)
        held = await self.session.post("Runtime.evaluate", expression=element, contextId=self.context)
        node = await self.session.post("DOM.describeNode", objectId=held["result"]["objectId"])
        page = await self.session.post("DOM.resolveNode", backendNodeId=node["node"]["backendNodeId"])
        answer = await self.session.post(
            "Runtime.callFunctionOn",
            functionDeclaration=f"function() {{ return ({function})(this); }}",
            objectId=page["object"]["objectId"],
            returnByValue=True,
            awaitPromise=True,
        )
        return _value(answer)

    async def __call__(self, expression: str) -> Any:
        """JSON value of an expression or its promise. Raises CommandRefused when the script throws."""
        answer = await self.session.post(
            "Runtime.evaluate", expression=expression, contextId=self.context, returnByValue=True, awaitPromise=True
        )
        return _value(answer)


def _value(answer: Mapping[str, Any]) -> Any:
    """The result of an evaluation. Raises CommandRefused for an exception."""
    if "exceptionDetails" in answer:
        details = answer["exceptionDetails"]
        raise CommandRefused(details.get("exception", {}).get("description", details.get("text", "")))
    return answer["result"].get("value")
