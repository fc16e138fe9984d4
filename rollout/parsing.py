"""Parses the policy's answers. A text without a page is a result, not an error.

Pages are parsed leniently: an unusual form costs the format share of the reward, and the strict zero applies only to
answers without a whole page.
"""

import re
from dataclasses import replace

from rollout import edits
from rollout.fences import DOCUMENT, END_THOUGHT, Block, blocks
from rollout.prompts import END_FEEDBACK, GET_FEEDBACK
from rollout.records import Page

THOUGHT = re.compile(r"\s*<think(?:ing)?>")
FEEDBACK = "<feedback>"
FENCE_LINE = re.compile(r"^[ \t]*`{3,}[^`\n]*$", re.MULTILINE)
MAX_SENTENCES = 5
MAX_SENTENCE_CHARS = 400


def parse_page(text: str) -> Page:
    """Parses the page of a completion; unless there is exactly one, `html` is None and `problem` gives the reason.

    Text before `</think>` is the thought, even if the chat template opened it; pages drafted in it do not count.
    """
    thought, body = _split(text.replace("\r\n", "\n"))
    found = _found(body)
    if (end := _thought_end(body, found)) is not None:
        thought = "\n".join(filter(None, (thought, body[: end.start()].strip())))
        body = body[end.end() :]
        found = _found(body)
    if problem := _problem(found):
        return Page(html=None, thought=thought, problem=problem, format_ok=False)
    (block,) = found
    before = body[: block.start]
    after = body[block.stop :]
    format_ok = block.plain and not before.strip() and after.strip() == GET_FEEDBACK
    return Page(html=block.html, thought=thought, format_ok=format_ok)


def parse_answer(text: str, base: str | None) -> Page:
    """Parses a completion: as edits of the page `base`, or as a page if it is None."""
    return parse_page(text) if base is None else parse_edits(text, base)


def parse_edits(text: str, shown: str) -> Page:
    """Parses edits of the page `shown` and applies them; unless all apply, html is None and `detail` says why.

    Text around the blocks costs the format share only, as do quotes that match apart from blanks, and a whole page that
    is written instead of edits: it is read as the page. Edits drafted in the thought do not count.
    """
    text = text.replace("\r\n", "\n")
    thought, body = _split_edits(text)
    if not _writes_edits(body):
        page = parse_page(text)
        return replace(page, problem="no_edit" if page.problem == "no_fence" else page.problem, format_ok=False)
    ends = body.rstrip().endswith(GET_FEEDBACK)
    try:
        found, outside = edits.parse(body.rstrip().removesuffix(GET_FEEDBACK) if ends else body)
        html = edits.apply(shown, found).strip()
    except edits.EditError as error:
        return Page(html=None, thought=thought, problem=error.code, detail=str(error), format_ok=False)
    if any(block.html for block in blocks(outside, unnamed=True) + blocks(outside)):
        return Page(html=None, thought=thought, problem="page_and_edits", format_ok=False)
    if not html:
        return Page(html=None, thought=thought, problem="empty_page", format_ok=False)
    format_ok = ends and body.rstrip().endswith("\n" + GET_FEEDBACK) and not outside.strip()
    return Page(html=html, thought=thought, format_ok=format_ok and edits.is_exact(shown, found))


def is_over(text: str, stop: str, *, thinking: bool = False) -> bool:
    """Whether the `stop` string at the end of a text ends the answer, rather than being quoted in a thought or a page.

    `thinking` means that the chat template opened the thought. A page with an ended document is complete with or
    without a closing fence; so is an unclosed thought that is followed by a whole page.
    """
    text = text.removesuffix(stop).replace("\r\n", "\n")
    if (over := _edits_are_over(text, thinking=thinking)) is not None:
        return over
    found = blocks(text)
    last = found[-1] if found else None
    if (thinking or THOUGHT.match(text)) and not END_THOUGHT.search(text):
        return last is not None and last.html is not None and last.ended and not text[last.stop :].strip()
    return last is None or last.html is not None or last.ended


def parse_feedback(text: str) -> tuple[str, ...]:
    """Parses the sentences of the policy's review, bounded in number and length."""
    _, body = _split(text.replace("\r\n", "\n"))
    body = END_THOUGHT.split(body)[-1].split(END_FEEDBACK, 1)[0].rpartition(FEEDBACK)[2]
    sentences = (line.strip()[2:].strip() for line in body.splitlines() if line.strip().startswith("- "))
    return tuple(sentence[:MAX_SENTENCE_CHARS] for sentence in sentences if sentence)[:MAX_SENTENCES]


def _found(text: str) -> list[Block]:
    """The html blocks, or else blocks of other names that contain a whole document."""
    return blocks(text) or [one for one in blocks(text, unnamed=True) if one.html is not None]


def _split(text: str) -> tuple[str, str]:
    """Splits a text into the thought at its start and the remaining text."""
    opening = THOUGHT.match(text)
    end = opening and END_THOUGHT.search(text, opening.end())
    if opening is None or end is None:
        return "", text
    return text[opening.end() : end.start()].strip(), text[end.end() :]


def _split_edits(text: str) -> tuple[str, str]:
    """Splits an answer with edits into its thought and the remaining text; markers quoted in edits end no thought."""
    opening = THOUGHT.match(text)
    quoted = [block for block in edits.blocks(text) if block.edit is not None]
    ends = [
        end for end in END_THOUGHT.finditer(text) if not any(block.start < end.start() < block.stop for block in quoted)
    ]
    if ends:
        start = opening.end() if opening is not None else 0
        return text[start : ends[-1].start()].strip(), text[ends[-1].end() :]
    if opening is None or _ends_with_edit(text.rstrip().removesuffix(GET_FEEDBACK)):
        return "", text
    return text[opening.end() :].strip(), ""


def _writes_edits(body: str) -> bool:
    """Whether a text has edits, rather than a page that contains their markers, or neither."""
    found = edits.blocks(body)
    if not found:
        return edits.NEARLY.search(body) is not None and not blocks(body)
    page = next(iter(_found(body)), None)
    if page is None or not page.start < found[0].start < page.stop:
        return True
    return DOCUMENT.match(body, body.index("\n", page.start)) is None


def _ends_with_edit(text: str) -> bool:
    """Whether a text ends with an edit, apart from the closing fence around it."""
    text = FENCE_LINE.sub("", text).rstrip()
    found = edits.blocks(text)
    return bool(found) and found[-1].edit is not None and found[-1].stop == len(text)


def _edits_are_over(text: str, *, thinking: bool) -> bool | None:
    """Whether an answer with edits is complete; None for an answer without edits."""
    _, body = _split_edits(text)
    if not _writes_edits(body):
        return None
    if body == text and (thinking or THOUGHT.match(text)):
        return _ends_with_edit(text)
    last = edits.blocks(body)[-1:]
    return not last or last[0].edit is not None or last[0].stop < len(body)


def _thought_end(text: str, found: list[Block]) -> re.Match[str] | None:
    """The last end-of-thought marker before the last block, ignoring markers quoted inside pages."""
    last = found[-1].start if found else 0
    closed = [one for one in found if one.html is not None]
    ends = END_THOUGHT.finditer(text, 0, last)
    return max(
        (end for end in ends if not any(one.start < end.start() < one.stop for one in closed)),
        key=lambda end: end.start(),
        default=None,
    )


def _problem(found: list[Block]) -> str:
    if not found:
        return "no_fence"
    if len(found) > 1:
        return "two_pages"
    if found[0].html is None:
        return "unclosed_fence"
    return "" if found[0].html else "empty_page"
