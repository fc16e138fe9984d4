"""Finds elements and texts in the source of a page by their offsets, without changing or repairing the source."""

from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from itertools import accumulate

VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
"""Elements without an end tag."""
HIDDEN = frozenset({"script", "style", "title", "head", "template", "noscript"})
"""Elements whose text the page does not show as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element with both tags. `html[start:stop]` is its source, `html[inside:end]` its content."""

    tag: str
    start: int
    inside: int
    end: int
    stop: int
    parent: int
    """Offset of the parent's start tag; -1 without a parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A run of text between tags, without the blanks at its ends."""

    start: int
    stop: int
    visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The elements and texts of a page, each in the order of their starts."""

    html: str
    elements: tuple[Element, ...]
    texts: tuple[Text, ...]

    def inside_body(self, offset: int) -> bool:
        """Whether an offset is behind the body's start tag; true for a page without one."""
        body = next((one for one in self.elements if one.tag == "body"), None)
        return body is None or offset >= body.inside


@lru_cache(maxsize=8)
def read_source(html: str) -> Source:
    """Reads a page. Elements without an end tag of their own are omitted."""
    reader = _Reader(html)
    reader.feed(html)
    reader.close()
    elements = tuple(sorted(reader.elements, key=lambda element: element.start))
    return Source(html=html, elements=elements, texts=tuple(reader.texts))


class _Reader(HTMLParser):
    """Collects elements and texts with their offsets."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.html = html
        self.lines = [0, *accumulate(len(line) for line in html.split("\n"))]
        self.open: list[tuple[str, int, int]] = []
        """Tag, start and inside of the elements that are open."""
        self.elements: list[Element] = []
        self.texts: list[Text] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._offset()
        if tag not in VOID:
            self.open.append((tag, start, start + len(self.get_starttag_text() or "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignores an element that closes itself, as in SVG."""

    def handle_endtag(self, tag: str) -> None:
        place = next((i for i in reversed(range(len(self.open))) if self.open[i][0] == tag), None)
        if place is None:
            return
        _, start, inside = self.open[place]
        del self.open[place:]
        end = self._offset()
        stop = self.html.find(">", end) + 1
        if stop:
            parent = self.open[-1][1] if self.open else -1
            self.elements.append(Element(tag=tag, start=start, inside=inside, end=end, stop=stop, parent=parent))

    def handle_data(self, data: str) -> None:
        start = self._offset() + len(data) - len(data.lstrip())
        words = data.strip()
        if words:
            visible = not any(tag in HIDDEN for tag, *_ in self.open)
            self.texts.append(Text(start=start, stop=start + len(words), visible=visible))

    def _offset(self) -> int:
        line, column = self.getpos()
        # Each newline before the line counts as one character.
        return self.lines[line - 1] + line - 1 + column
