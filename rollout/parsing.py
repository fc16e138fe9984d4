"""Parses the policy's answers. A text without a page is a result, not an error.

Pages are parsed leniently: an unusual form costs the format share of the reward, and the strict zero applies only to
answers without a whole page.
"""

import re

from rollout.fences import END_THOUGHT, Block, blocks
from rollout.prompts import END_FEEDBACK, GET_FEEDBACK
from rollout.records import Page

THOUGHT = re.compile(r"\s*<think(?:ing)?>")
FEEDBACK = "<feedback>"
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


def is_over(text: str, stop: str, *, thinking: bool = False) -> bool:
    """Whether the `stop` string at the end of a text ends the answer, rather than being quoted in a thought or a page.

    `thinking` means that the chat template opened the thought. A page with an ended document is complete with or
    without a closing fence; so is an unclosed thought that is followed by a whole page.
    """
    text = text.removesuffix(stop).replace("\r\n", "\n")
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
