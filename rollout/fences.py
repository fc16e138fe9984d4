"""Finds the ```html blocks of an answer, including pages that contain fences themselves.

A CommonMark parser would end the block at the first inner fence, and would miss a fence directly below a tag on a line,
such as `</think>`. This parser reads the page's structure: fences inside scripts, styles, text areas, titles, comments
and attributes are ignored, and a document ends after its `</html>`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"(?<!`)(?P<ticks>`{3,})(?P<info>[^`\n]*)")
HTML = re.compile(r"[{.]*(?:x?html?5?|[\w./\\-]+\.x?html?)(?![\w-])", re.IGNORECASE)
"""Info string of a page's fence: `html`, optionally with attributes, or a file name."""
DOCUMENT = re.compile(r"\s*+(?:<!--.{0,2000}?-->\s*+)*+<(?:!doctype\s|html\b)", re.IGNORECASE | re.DOTALL)
"""Start of a whole HTML document."""
END_THOUGHT = re.compile(r"</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>")
"""Separators between a model's thought and its answer: Qwen and DeepSeek, Mistral, gpt-oss."""
TOKEN = re.compile(
    r"""(?P<comment><!--)
    | (?P<end></html\s*>)
    | <(?P<name>[a-z][^\s/<>]*+)(?:=\s*+(?:"[^"]*+"|'[^']*+')|(?!\n[ \t]*+```)[^<>])*+>
    | (?<!`)(?P<ticks>`{3,})(?P<info>[^`\n]*)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Tokens of a page's source that the parser needs: comment, end of document, start tag with attributes, fence."""
RAW = frozenset({"script", "style", "textarea", "title", "xmp"})
"""Elements with raw text content, in which tags are not parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of an answer, starting at its opening fence."""

    start: int
    """Offset of the opening fence."""
    html: str | None
    """Content of the block; None if it is not closed."""
    stop: int
    """End offset: after the closing fence's backticks, at the start of another page, or at the end of the text."""
    plain: bool
    """Whether the fences have the requested form: an info string of exactly `html`, both fences on their own lines."""
    ended: bool
    """Whether the document was ended by `</html>`."""


def blocks(text: str, *, unnamed: bool = False) -> list[Block]:
    """Returns the html blocks of a text in order; with `unnamed`, blocks of any name with a whole document."""
    found: list[Block] = []
    position = 0
    while (opening := _opening(text, position, unnamed)) is not None:
        block = _block(text, opening)
        if block.html is None and block.stop == len(text):
            # A draft in a thought may stay unclosed: search again from the end of the thought.
            ends = [match.end() for match in END_THOUGHT.finditer(text, opening.end())]
            found.append(block)
            if not ends:
                break
            position = ends[-1]
        else:
            if block.html is not None or text[opening.end() : block.stop].strip():
                found.append(block)
            position = block.stop
    return found


def _opening(text: str, position: int, unnamed: bool = False) -> re.Match[str] | None:
    return next((match for match in FENCE.finditer(text, position) if _opens(match, unnamed)), None)


def _opens(fence: re.Match[str], unnamed: bool = False) -> bool:
    """Whether a fence opens a page; in the middle of a line, or in prose, it is only a mention."""
    text: str = fence.string
    info: str = fence["info"].strip()
    if fence.end() < len(text) and text[fence.end()] != "\n":
        return False
    if unnamed:
        return DOCUMENT.match(text, fence.end()) is not None
    name = HTML.match(info)
    if name is None or (not _begins_line(fence) and info.lower() != "html"):
        return False
    return sum(map(str.isalpha, info[name.end() :].split())) <= 1


def _begins_line(fence: re.Match[str]) -> bool:
    text: str = fence.string
    position = fence.start()
    while position and text[position - 1] in " \t":
        position -= 1
    return position == 0 or text[position - 1] == "\n"


def _block(text: str, opening: re.Match[str]) -> Block:
    """Reads the block after an opening fence. If no fence as long as a longer one closes it, three backticks may."""
    length = len(opening["ticks"])
    closing = _closing(text, opening, length)
    if length > 3 and not isinstance(closing.fence, re.Match):
        closing = _closing(text, opening, 3)
    fence, ended = closing.fence, closing.ended
    if not isinstance(fence, re.Match):
        return Block(start=opening.start(), html=None, stop=fence, plain=False, ended=ended)
    return Block(
        start=opening.start(),
        html=text[opening.end() : fence.start("ticks")].strip(),
        stop=fence.end("ticks"),
        plain=opening["info"].strip().lower() == "html" and _begins_line(opening) and _begins_line(fence),
        ended=ended,
    )


@dataclass(slots=True)
class _Closing:
    """How a block ends: the closing fence, or the offset at which the search ended."""

    fence: "re.Match[str] | int"
    ended: bool = False


def _closing(text: str, opening: re.Match[str], length: int) -> _Closing:
    """Finds the fence that closes a block.

    In a document, it is the first fence after `</html>`; an earlier fence may belong to the page's content, and closes
    the block only if no `</html>` follows. In a fragment, fences with a language name are paired with fences without
    one, and the first unpaired fence closes the block.
    """
    document = DOCUMENT.match(text, opening.end()) is not None
    depth, ended = 0, False
    candidate: re.Match[str] | None = None
    for token in _tokens(text, opening.end()):
        if token["end"]:
            ended = ended or depth == 0
        elif len(token["ticks"]) < length:
            continue
        elif _opens(token) and DOCUMENT.match(text, token.end()):
            return _Closing(candidate or token.start(), ended)
        elif ended:
            return _Closing(token, ended)
        elif _names(token):
            depth += 1
        elif _begins_line(token) or not token["info"].strip() or token["info"].lstrip().startswith("<"):
            if depth == 0 and not document:
                return _Closing(token)
            candidate = candidate or (None if depth else token)
            depth += -1 if depth else 1
    return _Closing(candidate or len(text), ended)


def _names(fence: re.Match[str]) -> bool:
    """Whether a fence names a language (one word) and so opens a nested block."""
    info: str = fence["info"]
    words = info.split()
    return (
        _begins_line(fence) and bool(words) and not info.strip().startswith("<") and (len(words) == 1 or info[0] != " ")
    )


def _tokens(text: str, position: int) -> Iterator[re.Match[str]]:
    """Yields fences and ends of the document in a page's source, outside comments, attributes and raw text."""
    endless: set[str] = set()
    while (token := TOKEN.search(text, position)) is not None:
        position = token.end()
        name = "-->" if token["comment"] else (token["name"] or "").lower()
        if token["end"] or token["ticks"]:
            yield token
        elif (token["comment"] or name in RAW) and name not in endless:
            end = re.compile("-->" if token["comment"] else rf"</{name}(?=[\s/>])", re.IGNORECASE).search(
                text, position
            )
            if end is None or _leaves_thought(text, position, end.start()):
                endless.add(name)
            else:
                position = end.end()


def _leaves_thought(text: str, start: int, stop: int) -> bool:
    """Whether a thought ends within a range and a page begins after it; then no element spans the range."""
    thought = END_THOUGHT.search(text, start, stop)
    opening = thought and next((match for match in FENCE.finditer(text, thought.end(), stop) if _opens(match)), None)
    return opening is not None
