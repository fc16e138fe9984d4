"""Gives closed shadow roots, inaccessible to scripts, to the isolated world that reads the document."""

import re
from typing import Any

from actors.browser.chromium.cdp import CdpSession
from actors.browser.chromium.isolated_world import IsolatedWorld

CLOSES = re.compile(r"attachShadow|shadowrootmode", re.IGNORECASE)
"""Signs of shadow roots in a page, without which the browser is not queried."""
MOST_ROOTS = 200
GIVE = """function(...roots) {
  const hostOf = Object.getOwnPropertyDescriptor(ShadowRoot.prototype, 'host').get;
  globalThis.relookShadows = new Map(roots.map(root => [hostOf.call(root), root]));
}"""


def may_close(html: str) -> bool:
    """Whether a page may have closed shadow roots."""
    return bool(CLOSES.search(html)) and "closed" in html.lower()


async def give_closed(session: CdpSession, world: IsolatedWorld) -> None:
    """Makes the document's closed shadow roots available to scripts of `world`."""
    tree = await session.post("DOM.getDocument", depth=-1, pierce=True)
    closed = _closed(tree["root"])[:MOST_ROOTS]
    answers = [session.post("DOM.resolveNode", backendNodeId=node, executionContextId=world.context) for node in closed]
    roots = [{"objectId": (await answer)["object"]["objectId"]} for answer in answers]
    await session.post(
        "Runtime.callFunctionOn", functionDeclaration=GIVE, executionContextId=world.context, arguments=roots
    )
    await session.post("DOM.disable")


def _closed(root: dict[str, Any]) -> list[int]:
    """Backend ids of the closed shadow roots below a node, without those in frames."""
    found: list[int] = []
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.get("shadowRootType") == "closed":
            found.append(node["backendNodeId"])
        nodes += [*node.get("children", ()), *node.get("shadowRoots", ())]
    return found
