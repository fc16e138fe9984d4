"""Reads texts of `::before` and `::after` with counters resolved, available only in the browser's layout."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from actors.browser.chromium.cdp import CdpSession
from rollout.records import TextBlock

Color = tuple[float, float, float, float]
"""Red, green and blue from 0 to 255, alpha from 0 to 1."""

WRITES = re.compile(r"(?<![-\w])content\s*:\s*(?!none|normal|(['\"])\s*\1)|<q\b", re.IGNORECASE)
"""Signs of pseudo-elements with text, without which the layout is not requested."""
STYLES = ("color", "background-color", "opacity", "font-size", "font-weight", "visibility")
MOST_TEXTS = 500
TOUCHING = 1.5
"""Maximum gap between adjacent pieces of a line in pixels."""
NUMBER = re.compile(r"[\d.]+")
CLEAR: Color = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Text of one pseudo-element."""

    block: TextBlock
    after: bool
    """Whether it is an `::after`."""


def may_write(html: str) -> bool:
    """Whether a page may have pseudo-elements with text."""
    return bool(WRITES.search(html))


async def read_pseudo(session: CdpSession, canvas: tuple[int, int, int]) -> list[Written]:
    """Visible texts of pseudo-elements in document order. `canvas` is the page's background colour."""
    seen = await session.post("DOMSnapshot.captureSnapshot", computedStyles=list(STYLES))
    if not seen["documents"]:
        return []
    texts = islice(_Layout(seen["strings"], seen["documents"][0], canvas).texts(), MOST_TEXTS)
    clean = (replace(one, block=replace(one.block, text=" ".join(one.block.text.split())[:500])) for one in texts)
    return [one for one in clean if _shown(one.block)]


def insert(blocks: Sequence[TextBlock], written: Sequence[Written]) -> tuple[TextBlock, ...]:
    """Inserts each text next to the block whose line it begins or continues, or at the end."""
    merged = list(blocks)
    for text in written:
        near = (i for i, block in enumerate(merged) if _follow(text, block))
        at = next(near, None)
        merged.insert(len(merged) if at is None else at + text.after, text.block)
    return tuple(merged)


def _follow(text: Written, block: TextBlock) -> bool:
    first, second = (block, text.block) if text.after else (text.block, block)
    level = first.y < second.y + second.height and second.y < first.y + first.height
    return level and abs(first.x + first.width - second.x) <= TOUCHING * max(4.0, second.font_px / 4)


class _Layout:
    """One document of a layout snapshot."""

    def __init__(self, strings: list[str], document: dict[str, Any], canvas: tuple[int, int, int]) -> None:
        self.strings = strings
        self.canvas = canvas
        self.nodes = document["nodes"]
        self.layout = document["layout"]
        self.parents: list[int] = self.nodes["parentIndex"]
        kinds = self.nodes["pseudoType"]
        self.pseudo = {node: strings[kind] for node, kind in zip(kinds["index"], kinds["value"], strict=True)}
        self.styles: dict[int, list[int]] = {}
        for node, style in zip(self.layout["nodeIndex"], self.layout["styles"], strict=True):
            if style:
                self.styles.setdefault(node, style)

    def texts(self) -> Iterator[Written]:
        """Texts by pseudo-element and line; adjacent pieces, such as a counter and a string, are joined."""
        held: Written | None = None
        owner = -1
        for node, block in self._pieces():
            if held is not None and owner == node and _same_line(held.block, block):
                held = replace(held, block=_joined(held.block, block))
                continue
            if held is not None:
                yield held
            held = Written(block=block, after=self.pseudo[node] == "after")
            owner = node
        if held is not None:
            yield held

    def _pieces(self) -> Iterator[tuple[int, TextBlock]]:
        layout = self.layout
        for node, text, bounds in zip(layout["nodeIndex"], layout["text"], layout["bounds"], strict=True):
            if text >= 0 and self.pseudo.get(node) in ("before", "after") and node in self.styles:
                yield node, self._block(node, self.strings[text], bounds)

    def _block(self, node: int, text: str, bounds: list[float]) -> TextBlock:
        color, _, _, size, weight, visibility = (self.strings[i] for i in self.styles[node])
        fill = self._fill(node)
        left = float(visibility == "visible")
        at = node
        while at >= 0:
            left *= float(self.strings[self.styles[at][2]]) if at in self.styles else 1.0
            at = self.parents[at]
        red, green, blue, alpha = _color(color)
        x, y, width, height = (round(side, 1) for side in bounds)
        return TextBlock(
            text=text if left > 0 else "",
            x=x,
            y=y,
            width=width,
            height=height,
            color=_over((red, green, blue, alpha * left), fill),
            background=fill,
            font_px=float(size.removesuffix("px")),
            weight=int(float(weight)),
            tag="span",
        )

    def _fill(self, node: int) -> tuple[int, int, int]:
        """Colour behind a node: its ancestors' backgrounds over the canvas."""
        path = []
        while node >= 0:
            style = self.styles.get(node)
            name = self.strings[self.nodes["nodeName"][node]]
            if style and name not in ("HTML", "BODY", "#document"):
                path.append(_color(self.strings[style[1]]))
            node = self.parents[node]
        fill = self.canvas
        for layer in reversed(path):
            fill = _over(layer, fill)
        return fill


def _color(text: str) -> Color:
    """A computed colour; transparent for the few forms other than `rgb()` and `rgba()`."""
    if not text.startswith("rgb"):
        return CLEAR
    red, green, blue, *alpha = (float(number) for number in NUMBER.findall(text))
    return red, green, blue, alpha[0] if alpha else 1.0


def _over(top: Color, below: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(a * top[3] + b * (1 - top[3])) for a, b in zip(top[:3], below, strict=True))
    return red, green, blue


def _shown(block: TextBlock) -> bool:
    inside = block.x + block.width > 0 and block.y + block.height > 0
    letters = any(unicodedata.category(letter) != "Co" for letter in block.text)  # private-use characters are icons
    return letters and block.width >= 1 and block.height >= 1 and inside


def _same_line(a: TextBlock, b: TextBlock) -> bool:
    return abs(a.y - b.y) < 1 and abs(a.x + a.width - b.x) <= TOUCHING


def _joined(a: TextBlock, b: TextBlock) -> TextBlock:
    return replace(a, text=a.text + b.text, width=b.x + b.width - a.x, height=max(a.height, b.height))
