"""Pages drawn with Pillow and renders of them, so that critics can be tested without a browser."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from rollout.records import Box, Page, ProbeResult, Render, Shot, Task, TextBlock

Color = tuple[int, int, int]
SIZE = (800, 600)
TASK = Task(id="paper", brief="Draw it.")
PAGE = Page(html="<p>paper</p>")
WHITE, NAVY, RED, GREY = (255, 255, 255), (0, 0, 128), (220, 20, 60), (211, 211, 211)


@dataclass(frozen=True, kw_only=True)
class Text:
    """One line of text."""

    text: str
    x: float
    y: float
    px: int = 24
    color: Color = (0, 0, 0)
    tag: str = "p"


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One coloured rectangle."""

    x: float
    y: float
    width: float
    height: float
    color: Color = GREY
    tag: str = "div"


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A page. `speed` moves every text to the right, in pixels a second."""

    texts: tuple[Text, ...] = ()
    fills: tuple[Fill, ...] = ()
    canvas: Color = WHITE
    height: int = SIZE[1]
    speed: float = 0.0
    probes: tuple[ProbeResult, ...] = ()

    def change(self, place: int, **fields: Any) -> "Paper":
        """The same page with one text changed."""
        return replace(self, texts=_changed(self.texts, place, fields))

    def repaint(self, place: int, **fields: Any) -> "Paper":
        """The same page with one rectangle changed."""
        return replace(self, fills=_changed(self.fills, place, fields))

    def without(self, place: int) -> "Paper":
        """The same page without one text."""
        return replace(self, texts=self.texts[:place] + self.texts[place + 1 :])


SHOP = Paper(
    texts=(
        Text(text="Velvet Lantern", x=60, y=40, px=48, color=NAVY, tag="h1"),
        Text(text="Lamps for long quiet evenings.", x=60, y=120),
        Text(text="Every lamp is made by hand in Oslo.", x=60, y=200),
        Text(text="Order now", x=90, y=330, color=WHITE, tag="button"),
        Text(text="Free delivery on all orders", x=60, y=480, px=16),
    ),
    fills=(
        Fill(x=60, y=310, width=200, height=70, color=NAVY, tag="button"),
        Fill(x=500, y=150, width=240, height=240),
    ),
)
OTHER = Paper(
    texts=(
        Text(text="Sign in", x=520, y=60, px=36, color=RED, tag="h2"),
        Text(text="Email", x=520, y=240, px=18),
        Text(text="Password", x=520, y=400, px=18),
    ),
    fills=(
        Fill(x=500, y=270, width=260, height=50, tag="input"),
        Fill(x=500, y=430, width=260, height=50, tag="input"),
    ),
)


def render(paper: Paper) -> Render:
    """The render a browser would return, with screenshots at 0, 1 and 2 s."""
    shots = []
    for at_ms in (0, 1000, 2000):
        png = picture(paper, at_ms / 1000)
        digest = hashlib.sha256(png).hexdigest()
        shots.append(Shot(at_ms=at_ms, sha256=digest, width=SIZE[0], height=SIZE[1], picture=png))
    return Render(
        page_sha256=hashlib.sha256(repr(paper).encode()).hexdigest(),
        outcome="ok",
        shots=tuple(shots),
        blocks=tuple(_block(text, paper) for text in paper.texts),
        boxes=tuple(Box(tag=f.tag, x=f.x, y=f.y, width=f.width, height=f.height) for f in paper.fills),
        viewport=SIZE,
        document=(SIZE[0], paper.height),
        background=paper.canvas,
        probes=paper.probes,
        renderer="paper",
    )


def picture(paper: Paper, seconds: float = 0.0, size: tuple[int, int] = SIZE) -> bytes:
    """A PNG of the page after so many seconds."""
    image = Image.new("RGB", size, paper.canvas)
    pen = ImageDraw.Draw(image)
    for fill in paper.fills:
        pen.rectangle((fill.x, fill.y, fill.x + fill.width - 1, fill.y + fill.height - 1), fill=fill.color)
    for text in paper.texts:
        place = text.x + paper.speed * seconds, text.y
        pen.text(place, text.text, fill=text.color, font=ImageFont.load_default(text.px))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def pictures(of: Render) -> tuple[bytes, ...]:
    """The PNGs of a render's shots."""
    return tuple(shot.picture for shot in of.shots)


def _block(text: Text, paper: Paper) -> TextBlock:
    left, top, right, bottom = ImageFont.load_default(text.px).getbbox(text.text)
    behind = [f.color for f in paper.fills if f.x <= text.x < f.x + f.width and f.y <= text.y < f.y + f.height]
    return TextBlock(
        text=text.text,
        x=text.x + left + 2 * paper.speed,
        y=text.y + top,
        width=right - left,
        height=bottom - top,
        color=text.color,
        background=behind[-1] if behind else paper.canvas,
        font_px=text.px,
        weight=400,
        tag=text.tag,
    )


def _changed(things: Sequence[Any], place: int, fields: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(replace(thing, **fields) if i == place else thing for i, thing in enumerate(things))
