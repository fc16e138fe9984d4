"""Reads what the policy wrote. A text that holds no page is a fact about the policy, not an error."""

import re

from rollout.prompts import END_FEEDBACK, GET_FEEDBACK
from rollout.records import Page

OPEN = re.compile(r"```html[ \t]*\n")
CLOSE = re.compile(r"\n[ \t]*```")
THINK = re.compile(r"^\s*<think>(.*?)</think>", re.DOTALL)
MAX_SENTENCES = 5
MAX_SENTENCE_CHARS = 400


def parse_page(text: str) -> Page:
    """The page in a completion; `html` is None, and `problem` says why, when there is not exactly one."""
    think = THINK.match(text)
    thought = think.group(1).strip() if think else ""
    body = text[think.end() :] if think else text
    opening = OPEN.search(body)
    if opening is None:
        return Page(html=None, thought=thought, problem="no_fence", format_ok=False)
    closing = CLOSE.search(body, opening.end() - 1)
    if closing is None:
        return Page(html=None, thought=thought, problem="unclosed_fence", format_ok=False)
    if OPEN.search(body, closing.end()):
        return Page(html=None, thought=thought, problem="two_pages", format_ok=False)
    html = body[opening.end() : closing.start()].strip()
    if not html:
        return Page(html=None, thought=thought, problem="empty_page", format_ok=False)
    think_ok = think is not None or "<think>" not in body
    nothing_before = not body[: opening.start()].strip()
    nothing_after = body[closing.end() :].strip() == GET_FEEDBACK
    return Page(html=html, thought=thought, format_ok=think_ok and nothing_before and nothing_after)


def parse_feedback(text: str) -> tuple[str, ...]:
    """The sentences of a review the policy wrote, bounded in number and length; empty when it wrote none."""
    body = text.split(END_FEEDBACK, 1)[0].replace("<feedback>", "")
    sentences = (line.strip()[2:].strip() for line in body.splitlines() if line.strip().startswith("- "))
    return tuple(sentence[:MAX_SENTENCE_CHARS] for sentence in sentences if sentence)[:MAX_SENTENCES]
