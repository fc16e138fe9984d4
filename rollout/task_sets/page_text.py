"""Briefs from the visible text of existing pages, for sets that have pages and no briefs."""

from html.parser import HTMLParser

UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "svg", "object", "iframe"})
INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "kbd", "mark", "q", "s", "small", "span"}
    | {"strong", "sub", "sup", "time", "u", "var"}
)
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
KINDS = {
    "h1": "heading", "h2": "heading", "h3": "heading", "h4": "heading", "h5": "heading", "h6": "heading",
    "button": "button", "li": "list item", "th": "table heading", "td": "table cell", "label": "label",
}  # fmt: skip
LONGEST = 6000
"""Maximum length of a brief in characters; texts beyond it are omitted and counted."""


def brief_of_page(html: str) -> str:
    """A brief that lists title and texts of a page in document order; empty for a page without text."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_block()
    if not reader.texts:
        return ""
    lines = [f"Build one complete HTML page.\nTitle: {reader.title}\nTexts from top to bottom:"]
    room = LONGEST - len(lines[0])
    for number, text in enumerate(reader.texts):
        line = f"- {text}"
        if len(line) + 1 > room:
            lines.append(f"- and {len(reader.texts) - number} more texts of the same kinds")
            break
        lines.append(line)
        room -= len(line) + 1
    if reader.pictures:
        lines.append(f"Pictures: {reader.pictures}, shown as grey boxes.")
    return "\n".join(lines)


class _Reader(HTMLParser):
    """Collects the texts of block elements; tolerates unclosed elements."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.texts: list[str] = []
        self.pictures = 0
        self._opened: list[str] = []
        self._block: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures += not self._hidden()
        if tag == "br":
            self._block.append(" ")
        if tag not in INLINE and tag not in VOID:
            self.end_block()
        if tag not in VOID:
            self._opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._opened:
            return
        if tag not in INLINE:
            self.end_block()
        while self._opened.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "title" in self._opened[-1:] and "svg" not in self._opened:
            self.title = " ".join(f"{self.title} {data}".split())
        elif not self._hidden():
            self._block.append(data)

    def end_block(self) -> None:
        """Ends the current text: the text of one block element."""
        text = " ".join("".join(self._block).split())
        self._block.clear()
        if text:
            kind = next((KINDS[tag] for tag in reversed(self._opened) if tag in KINDS), "text")
            self.texts.append(f"{kind}: {text}")

    def _hidden(self) -> bool:
        return any(tag in UNSEEN for tag in self._opened)
