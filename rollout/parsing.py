"""Reads what the policy wrote. A text that holds no page is a fact about the policy, not an error.

A page is read where a person would find it: an unusual form costs the share of the reward that is for form, and the
strict zero is for answers that hold no whole page.
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
    """The page in a completion; `html` is None, and `problem` says why, when there is not exactly one.

    What precedes `</think>` is a thought, also where the chat template has opened it; pages drafted there do not count.
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
    before, after = body[: block.start], body[block.stop :]
    format_ok = block.plain and not before.strip() and after.strip() == GET_FEEDBACK
    return Page(html=block.html, thought=thought, format_ok=format_ok)


def is_over(text: str, stop: str, *, thinking: bool = False) -> bool:
    """Whether the `stop` string at the end of a text ends the answer: not where a thought or a page quotes it.

    `thinking` says that the chat template has opened the thought. A page whose document has ended is over, fence or no
    fence, and so is a thought that was never closed once a whole page stands below it.
    """
    text = text.removesuffix(stop).replace("\r\n", "\n")
    found = blocks(text)
    last = found[-1] if found else None
    if (thinking or THOUGHT.match(text)) and not END_THOUGHT.search(text):
        return last is not None and last.html is not None and last.ended and not text[last.stop :].strip()
    return last is None or last.html is not None or last.ended


def parse_feedback(text: str) -> tuple[str, ...]:
    """The sentences of a review the policy wrote, bounded in number and length; empty when it wrote none."""
    _, body = _split(text.replace("\r\n", "\n"))
    body = END_THOUGHT.split(body)[-1].split(END_FEEDBACK, 1)[0].rpartition(FEEDBACK)[2]
    sentences = (line.strip()[2:].strip() for line in body.splitlines() if line.strip().startswith("- "))
    return tuple(sentence[:MAX_SENTENCE_CHARS] for sentence in sentences if sentence)[:MAX_SENTENCES]


def _found(text: str) -> list[Block]:
    """The html blocks; where there are none, the blocks of other names that hold a whole document."""
    return blocks(text) or [one for one in blocks(text, unnamed=True) if one.html is not None]


def _split(text: str) -> tuple[str, str]:
    """The thought that a text opens and closes, and what follows it."""
    opening = THOUGHT.match(text)
    end = opening and END_THOUGHT.search(text, opening.end())
    if opening is None or end is None:
        return "", text
    return text[opening.end() : end.start()].strip(), text[end.end() :]


def _thought_end(text: str, found: list[Block]) -> re.Match[str] | None:
    """The last `</think>` before the last block, other than those that pages quote."""
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
