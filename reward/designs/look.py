"""Computes the appearance of a design from its source: texts, colours and font sizes as in a browser.

Supports only the CSS of designs: rules for one tag, class or id, colours as `#rrggbb`, sizes in `px`, the `hidden`
attribute, and a reset by which every property inherits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser

from reward.visual import sentences
from reward.visual.sentences import Color

KEYFRAMES = re.compile(r"@keyframes[^{]*\{(?:[^{}]*\{[^}]*\})*[^}]*\}")
RULE = re.compile(r"([^{}]+)\{([^}]*)\}")
PIXELS = re.compile(r"(\d+)px")
VOID = {"meta", "input", "br", "hr", "!doctype"}
UNSEEN = {"head", "title", "style", "script"}
MAX_SENTENCES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Style properties that a text inherits from the elements around it."""

    color: Color = (0, 0, 0)
    background: Color = (255, 255, 255)
    font_px: int = 16
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ornament:
    """One visible text and its style."""

    text: str
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The visible texts of a page in source order, and the colour of its canvas."""

    canvas: Color
    marks: tuple[Ornament, ...]


def look(html: str) -> Look:
    """Parses the page of a design."""
    reader = _Reader(html)
    return Look(canvas=reader.canvas, marks=tuple(reader.marks))


def compare(found: Look, wanted: Look, missing: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Lists the faults of `found`, worst first, at most five sentences.

    `missing` maps each text left out of `found` to its place in percent of the page; the remaining texts correspond in
    order. Raises ValueError when they do not.
    """
    kept = [mark for mark in wanted.marks if mark.text not in missing]
    pairs = list(zip(found.marks, kept, strict=True))
    said = [sentences.missing_text(text, *place) for text, place in missing.items()]
    said += [sentences.wrong_text(a.text, b.text) for a, b in pairs if a.text != b.text]
    if found.canvas != wanted.canvas:
        said.append(sentences.wrong_canvas(found.canvas, wanted.canvas))
    for a, b in sorted(pairs, key=lambda pair: -pair[1].style.font_px):
        said += _style_faults(a, b, on_canvas=a.style.background == found.canvas)
    return tuple(dict.fromkeys(said))[:MAX_SENTENCES]


def _style_faults(found: Ornament, wanted: Ornament, *, on_canvas: bool) -> list[str]:
    """Style faults of one text; a text directly on the canvas has no background of its own."""
    said = []
    a, b = found.style, wanted.style
    if a.background != b.background and not on_canvas:
        said.append(sentences.wrong_background(wanted.text, a.background, b.background))
    if a.color != b.color:
        said.append(sentences.wrong_color(wanted.text, a.color, b.color))
    if a.font_px != b.font_px:
        said.append(sentences.wrong_font_size(wanted.text, a.font_px, b.font_px))
    return said


class _Reader(HTMLParser):
    """HTML parser with a stack of the current styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        css = KEYFRAMES.sub("", html.split("<style>")[1].split("</style>")[0])
        self.rules = [(selector.strip(), body) for names, body in RULE.findall(css) for selector in names.split(",")]
        self.stack: list[tuple[str, Style]] = [("", Style())]
        self.canvas: Color = (255, 255, 255)
        self.marks: list[Ornament] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        given = dict(attrs)
        names = {tag, f"#{given.get('id')}", *(f".{name}" for name in (given.get("class") or "").split())}
        style = self.stack[-1][1]
        for selector, body in self.rules:
            if selector in names:
                style = _apply(style, body)
        if tag in UNSEEN or "hidden" in given:
            style = Style(hidden=True)
        if tag == "body":
            self.canvas = style.background
        self.stack.append((tag, style))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.stack.pop()
        if opened != tag:
            raise ValueError(f"a design closes <{tag}> where <{opened}> is open")

    def handle_data(self, data: str) -> None:
        style = self.stack[-1][1]
        if data.strip() and not style.hidden:
            self.marks.append(Ornament(text=data.strip(), style=style))


def _apply(style: Style, body: str) -> Style:
    """The style after one rule's declarations."""
    color, background, font_px = style.color, style.background, style.font_px
    for declaration in filter(None, body.split(";")):
        name, value = declaration.split(":", 1)
        if name == "color":
            color = _rgb(value)
        elif name == "background":
            background = _rgb(value)
        elif name in ("font", "font-size") and (pixels := PIXELS.search(value)):
            font_px = int(pixels[1])
    return Style(color=color, background=background, font_px=font_px, hidden=style.hidden)


def _rgb(value: str) -> Color:
    """`#000080` → `(0, 0, 128)`."""
    if not re.fullmatch(r"#[0-9a-f]{6}", value):
        raise ValueError(f"a design's colour is {value!r}, wanted #rrggbb")
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
