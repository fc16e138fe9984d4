"""Search-and-replace edits of a text: reads and writes blocks, applies them, and makes them from two texts.

    <<<<<<< SEARCH
    lines of the text
    =======
    lines that replace them
    >>>>>>> REPLACE

The three markers of a block have the same length, at least seven; a longer block may therefore contain lines that look
like shorter markers. Lines end with a newline character only.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

LEAST = 7
"""Shortest marker."""
BLANKS = " \t\r"
"""Characters that a tolerant match ignores at both ends of a line."""
MARK = re.compile(
    rf"^(?:(?P<open><{{{LEAST},}}) SEARCH|(?P<middle>={{{LEAST},}})|(?P<close>>{{{LEAST},}}) REPLACE)[{BLANKS}]*$",
    re.MULTILINE,
)
NEARLY = re.compile(rf"^[{BLANKS}]*(?:<{{3,}}|>{{3,}})[{BLANKS}]*(?:SEARCH|REPLACE)\b", re.MULTILINE | re.IGNORECASE)
"""Line that was meant as a marker; ignoring it would apply only a part of the edits."""
MAX_QUOTE = 60
"""Characters of a line quoted in an error."""


class EditError(ValueError):
    """Error of the author of the edits, in one sentence that quotes the lines; `code` names its kind.

    Codes: `malformed_edit`, `empty_search`, `missing_search`, `ambiguous_search`.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One replacement of consecutive whole lines."""

    search: tuple[str, ...]
    replace: tuple[str, ...]
    """Replacing lines; empty to delete the searched ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The range [start, stop) of an edit in an answer. A block that is not well formed has an error and no edit."""

    start: int
    stop: int
    edit: Edit | None = None
    error: str = ""


def blocks(text: str) -> list[Block]:
    """Returns the blocks of a text in order, malformed ones included."""
    found: list[Block] = []
    opened: re.Match[str] | None = None
    middle: re.Match[str] | None = None
    for mark in MARK.finditer(text):
        kind = str(mark.lastgroup)
        if opened is not None and len(mark[kind]) != len(opened["open"]):
            continue  # content of the block
        if kind == "middle" and opened is None:
            continue  # the underline of a heading in prose
        if kind == "middle" and middle is None:
            middle = mark
        elif kind == "close" and opened is not None and middle is not None:
            found.append(_block(text, opened, middle, mark))
            opened = middle = None
        else:
            if opened is not None or kind == "close":
                found.append(_malformed(opened or mark, middle, mark.start()))
            opened = mark if kind == "open" else None
            middle = None
    if opened is not None:
        found.append(_malformed(opened, middle, len(text)))
    return found


def parse(text: str) -> tuple[tuple[Edit, ...], str]:
    """Parses the edits of a text; also returns the text outside of their blocks.

    Raises EditError for a malformed block and for an empty SEARCH part.
    """
    found = blocks(text)
    edits: list[Edit] = []
    for number, block in enumerate(found, start=1):
        if block.edit is None:
            raise EditError("malformed_edit", f"edit {number} {block.error}")
        if _is_blank(block.edit.search):
            raise EditError("empty_search", f"the SEARCH part of edit {number} is empty, it must quote lines")
        edits.append(block.edit)
    outside = outside_of(found, text)
    if nearly := NEARLY.search(outside):
        line = outside[nearly.start() :].partition("\n")[0]
        wanted = f"{'<' * LEAST} SEARCH or {'>' * LEAST} REPLACE"
        raise EditError("malformed_edit", f"the line {_quote(line)} is no marker, wanted {wanted}")
    return tuple(edits), outside


def outside_of(found: Sequence[Block], text: str) -> str:
    """Returns the text without the given blocks."""
    starts = [0, *(block.stop for block in found)]
    stops = [*(block.start for block in found), len(text)]
    return "".join(text[start:stop] for start, stop in zip(starts, stops, strict=True))


def show(edits: Sequence[Edit]) -> str:
    """Writes edits as blocks; the inverse of `parse`."""
    return "\n".join(_show(edit) for edit in edits)


def apply(text: str, edits: Sequence[Edit]) -> str:
    """Applies edits in order, each to the result of the earlier ones. Raises EditError; then none is applied.

    The searched lines must occur once. If they do not occur exactly, blanks at both ends of lines are ignored, and the
    replacing lines get the indentation of the text.
    """
    framed = f"\n{text}\n"
    for number, edit in enumerate(edits, start=1):
        found = _find(framed, edit.search)
        if not found:
            framed = _apply_tolerantly(framed, edit, number)
            continue
        if len(found) > 1:
            raise _ambiguous(framed, edit, number, found)
        framed = _replace(framed, found[0], len(_frame(edit.search)), edit.replace)
    return framed[1:-1]


def is_exact(text: str, edits: Sequence[Edit]) -> bool:
    """Whether edits that apply to a text quote all of their lines exactly."""
    framed = f"\n{text}\n"
    for edit in edits:
        found = _find(framed, edit.search)
        if len(found) != 1:
            return False
        framed = _replace(framed, found[0], len(_frame(edit.search)), edit.replace)
    return True


def make(old: str, new: str) -> tuple[Edit, ...]:
    """Makes few, short edits that turn `old` into `new`; none for equal texts. Raises ValueError for a blank `old`.

    Each quotes the changed lines, and as many lines around them as make the quote unique.
    """
    before, after = old.split("\n"), new.split("\n")
    if old == new:
        return ()
    if _is_blank(before):
        raise ValueError("edits need a text with a line to quote, got a blank one")
    edits: list[Edit] = []
    for start, stop, begin, end in _changes(before, after):
        # The earlier edits have replaced the lines before `start`.
        page = after[:begin] + before[start:]
        quoted = _unique(page, begin, begin + stop - start)
        if quoted is None:
            return (Edit(search=tuple(before), replace=tuple(after)),)
        top, bottom = quoted
        above, below = page[top:begin], page[begin + stop - start : bottom]
        edits.append(Edit(search=tuple(page[top:bottom]), replace=(*above, *after[begin:end], *below)))
    return tuple(edits)


def _block(text: str, opened: re.Match[str], middle: re.Match[str], closed: re.Match[str]) -> Block:
    edit = Edit(
        search=_lines(text[opened.end() + 1 : middle.start()]), replace=_lines(text[middle.end() + 1 : closed.start()])
    )
    return Block(start=opened.start(), stop=closed.end(), edit=edit)


def _lines(part: str) -> tuple[str, ...]:
    """Lines of a part of a block, each of which ends with a newline."""
    return tuple(part.split("\n")[:-1])


def _malformed(mark: re.Match[str], middle: re.Match[str] | None, stop: int) -> Block:
    if mark.lastgroup == "close":
        error = f"has no {'<' * LEAST} SEARCH before its {mark['close']} REPLACE"
        return Block(start=mark.start(), stop=mark.end(), error=error)
    length = len(mark["open"])
    missing = "=" * length if middle is None else f"{'>' * length} REPLACE"
    text: str = mark.string
    first = text[mark.end() + 1 : stop].partition("\n")[0]
    return Block(
        start=mark.start(), stop=stop, error=f"has no {missing} where it should follow; it begins with {_quote(first)}"
    )


def _show(edit: Edit) -> str:
    marks = (mark for line in (*edit.search, *edit.replace) if (mark := MARK.fullmatch(line)) is not None)
    length = max((len(mark[str(mark.lastgroup)]) + 1 for mark in marks), default=LEAST)
    return "\n".join(("<" * length + " SEARCH", *edit.search, "=" * length, *edit.replace, ">" * length + " REPLACE"))


def _frame(lines: Sequence[str]) -> str:
    return "\n".join(("", *lines, ""))


def _find(framed: str, lines: Sequence[str]) -> list[int]:
    """Offsets of the first two occurrences of whole lines in a text with a newline at both ends."""
    needle = _frame(lines)
    first = framed.find(needle)
    if first < 0:
        return []
    second = framed.find(needle, first + 1)
    return [first] if second < 0 else [first, second]


def _replace(framed: str, start: int, length: int, lines: Sequence[str]) -> str:
    middle = _frame(lines) if lines else "\n"
    return framed[:start] + middle + framed[start + length :]


def _apply_tolerantly(framed: str, edit: Edit, number: int) -> str:
    lines = framed[1:-1].split("\n")
    bare = _frame([line.strip(BLANKS) for line in lines])
    found = _find(bare, [line.strip(BLANKS) for line in edit.search])
    if not found:
        raise _missing({line.strip(BLANKS) for line in lines}, edit, number)
    if len(found) > 1:
        raise _ambiguous(bare, edit, number, found)
    first = bare.count("\n", 0, found[0])
    last = first + len(edit.search)
    return _frame(lines[:first] + _indented(edit, lines[first:last]) + lines[last:])


def _indented(edit: Edit, matched: Sequence[str]) -> list[str]:
    """Replacing lines with the indentation of the matched lines; a line repeated from SEARCH is kept as it was."""
    same = dict(zip(reversed(edit.search), reversed(matched), strict=True))
    given, wanted = next(
        (_indent(one), _indent(other)) for one, other in zip(edit.search, matched, strict=True) if one.strip(BLANKS)
    )
    shifted: list[str] = []
    for line in edit.replace:
        if line in same or not line.strip(BLANKS):
            shifted.append(same.get(line, line))
        elif line.startswith(given):
            shifted.append(wanted + line.removeprefix(given))
        else:
            shifted.append(wanted + line.lstrip(BLANKS))
    return shifted


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(BLANKS))]


def _missing(known: set[str], edit: Edit, number: int) -> EditError:
    """Names the first searched line that the text does not have, if there is one."""
    unknown = next((line for line in edit.search if line.strip(BLANKS) not in known), None)
    said = f"the SEARCH lines of edit {number} are not in the page"
    if unknown is not None:
        return EditError("missing_search", f"{said}, which has no line {_quote(unknown)}")
    first = next(line for line in edit.search if line.strip(BLANKS))
    return EditError("missing_search", f"{said} in this order; they begin with {_quote(first)}")


def _ambiguous(framed: str, edit: Edit, number: int, found: Sequence[int]) -> EditError:
    first, second = (framed.count("\n", 0, start) + 1 for start in found)
    quoted = _quote(next(line for line in edit.search if line.strip(BLANKS)))
    return EditError(
        "ambiguous_search",
        f"the SEARCH lines of edit {number} are in the page more than once, at lines {first} and {second}; they begin "
        f"with {quoted}, add lines around them",
    )


def _quote(line: str) -> str:
    line = line.strip(BLANKS)
    return f'"{line[:MAX_QUOTE]}…"' if len(line) > MAX_QUOTE else f'"{line}"'


def _is_blank(lines: Sequence[str]) -> bool:
    return not any(line.strip(BLANKS) for line in lines)


def _changes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of changed lines, in `before` and in `after`; changes with at most one line between them are joined."""
    joined: list[tuple[int, int, int, int]] = []
    for tag, start, stop, begin, end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag == "equal":
            continue
        if joined and start - joined[-1][1] <= 1:
            joined[-1] = (joined[-1][0], stop, joined[-1][2], end)
        else:
            joined.append((start, stop, begin, end))
    yield from joined


def _unique(lines: Sequence[str], start: int, stop: int) -> tuple[int, int] | None:
    """Smallest range around [start, stop) with lines that occur once and are not all blank; None if there is none."""
    framed = _frame(lines)

    def suits(above: int, below: int) -> bool:
        quoted = lines[max(0, start - above) : stop + below]
        return not _is_blank(quoted) and len(_find(framed, quoted)) == 1

    most = max(start, len(lines) - stop)
    around = _least(lambda count: suits(count, count), most)
    if around is None:
        return None
    below = _least(lambda count: suits(around, count), around) or 0
    above = _least(lambda count: suits(count, below), around) or 0
    return max(0, start - above), min(len(lines), stop + below)


def _least(suits: Callable[[int], bool], most: int) -> int | None:
    """Smallest count up to `most` that suits, by bisection: larger counts than a suitable one suit too."""
    if suits(0):
        return 0
    if not suits(most):
        return None
    low, high = 0, 1
    while high < most and not suits(high):
        low, high = high, high * 2
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suits(middle) else (middle, high)
    return high
