"""Reads a document into records, from the reader script and the browser's layout."""

import json
from typing import Any, TypedDict

from actors.browser.chromium import document, pseudo_elements, shadow_roots
from actors.browser.chromium.cdp import CdpSession
from actors.browser.chromium.isolated_world import IsolatedWorld
from rollout.records import Box, TextBlock

Rgb = tuple[int, int, int]


class Reading(TypedDict):
    """Fields of a Render read from the document."""

    blocks: tuple[TextBlock, ...]
    boxes: tuple[Box, ...]
    background: Rgb
    title: str
    document: tuple[int, int]


async def read_document(session: CdpSession, world: IsolatedWorld, html: str) -> Reading:
    """The document's current state. Its source `html` decides which queries are needed."""
    if shadow_roots.may_close(html):
        await shadow_roots.give_closed(session, world)
    reading = read(str(await world(document.READ)))
    if pseudo_elements.may_write(html):
        written = await pseudo_elements.read_pseudo(session, reading["background"])
        reading["blocks"] = pseudo_elements.insert(reading["blocks"], written)
    return reading


def read(report: str) -> Reading:
    """Parses the JSON that `document.READ` returns."""
    seen: dict[str, Any] = json.loads(report)
    return Reading(
        blocks=tuple(_block(*row) for row in seen["blocks"]),
        boxes=tuple(Box(tag=tag, x=x, y=y, width=width, height=height) for tag, x, y, width, height in seen["boxes"]),
        background=_rgb(seen["background"]),
        title=seen["title"],
        document=(int(seen["document"][0]), int(seen["document"][1])),
    )


def _block(
    text: str,
    x: float,
    y: float,
    width: float,
    height: float,
    color: list[int],
    background: list[int],
    size: float,
    weight: int,
    tag: str,
) -> TextBlock:
    return TextBlock(
        text=text,
        x=x,
        y=y,
        width=width,
        height=height,
        color=_rgb(color),
        background=_rgb(background),
        font_px=size,
        weight=weight,
        tag=tag,
    )


def _rgb(color: list[int]) -> Rgb:
    red, green, blue = color
    return red, green, blue
