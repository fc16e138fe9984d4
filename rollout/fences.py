"""Finds the ```html blocks of an answer. A page may hold fences of its own, which do not end its block.

A CommonMark parser would end the block at the first of them, and would not see a fence right below a line that is a
tag, such as `</think>`. So the page's own structure is read: what stands in scripts, styles, text areas, titles,
comments and attributes ends nothing, and a document that has begun ends after its `</html>`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"(?<!`)(?P<ticks>`{3,})(?P<info>[^`\n]*)")
HTML = re.compile(r"[{.]*(?:x?html?5?|[\w./\\-]+\.x?html?)(?![\w-])", re.IGNORECASE)
"""What follows the backticks of a page: `html`, also with attributes, or the name of a file."""
DOCUMENT = re.compile(r"\s*+(?:<!--.{0,2000}?-->\s*+)*+<(?:!doctype\s|html\b)", re.IGNORECASE | re.DOTALL)
"""How a whole document begins."""
END_THOUGHT = re.compile(r"</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>")
"""What separates a model's thought from its answer: Qwen and DeepSeek, Mistral, gpt-oss."""
TOKEN = re.compile(
    r"""(?P<comment><!--)
    | (?P<end></html\s*>)
    | <(?P<name>[a-z][^\s/<>]*+)(?:=\s*+(?:"[^"]*+"|'[^']*+')|(?!\n[ \t]*+```)[^<>])*+>
    | (?<!`)(?P<ticks>`{3,})(?P<info>[^`\n]*)""",
    re.IGNORECASE | re.VERBOSE,
)
"""What matters in a page's source: a comment, the end of the document, a start tag with its attributes, a fence."""
RAW = frozenset({"script", "style", "textarea", "title", "xmp"})
"""Elements whose content holds no tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of an answer, from its opening fence on."""

    start: int
    """Where the opening fence begins."""
    html: str | None
    """What it holds; None while it is not closed."""
    stop: int
    """Where it ends: behind the backticks of its closing fence, or where another page begins, or with the text."""
    plain: bool
    """Whether it is fenced as asked for: nothing but `html` behind the opening fence, both on lines of their own."""
    ended: bool
    """Whether its document has come to `</html>`."""


def blocks(text: str, *, unnamed: bool = False) -> list[Block]:
    """The html blocks of a text, in order. `unnamed` finds the blocks of other names that hold a whole document."""
    found: list[Block] = []
    position = 0
    while (opening := _opening(text, position, unnamed)) is not None:
        block = _block(text, opening)
        if block.html is None and block.stop == len(text):
            # A draft in a thought may never be closed: what follows the thought is looked at by itself.
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
    """Whether a fence opens a page. In the middle of a line, and in prose, it only speaks of one."""
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
    """The block that an opening fence begins. Where no fence as long as a long one closes it, a short one may."""
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
    """How a block ends: the fence that closes it, or the place where the search for one ended."""

    fence: "re.Match[str] | int"
    ended: bool = False


def _closing(text: str, opening: re.Match[str], length: int) -> _Closing:
    """Looks for the fence that closes a block.

    In a document, that is the first one after `</html>`; one before may belong to what the document shows, and closes
    the block only if no `</html>` follows. In a fragment, fences that name a language are paired with those that do
    not, and the first that is left over closes the block.
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
    """Whether a fence names a language, and so opens something: one word behind the backticks."""
    info: str = fence["info"]
    words = info.split()
    return (
        _begins_line(fence) and bool(words) and not info.strip().startswith("<") and (len(words) == 1 or info[0] != " ")
    )


def _tokens(text: str, position: int) -> Iterator[re.Match[str]]:
    """The fences and ends of the document in a page's source, outside of comments, attributes and raw text."""
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
    """Whether a thought ends within a range and a page begins after that: then no element spans it."""
    thought = END_THOUGHT.search(text, start, stop)
    opening = thought and next((match for match in FENCE.finditer(text, thought.end(), stop) if _opens(match)), None)
    return opening is not None
