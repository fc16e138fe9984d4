"""Damages of a page's markup. Each takes a page and a random generator, and returns None if it does not apply."""

import random
import re
from itertools import pairwise

from learner.supervised.elements import Element, Source, Text, read_source

SECTIONS = frozenset({
    "section", "article", "header", "footer", "nav", "main", "aside", "div", "ul", "ol", "table", "form",
    "fieldset", "figure", "p", "h1", "h2", "h3", "button",
})  # fmt: skip
"""Elements that policies omit or misplace."""
CONTAINERS = frozenset({
    "div", "section", "button", "a", "h1", "h2", "h3", "ul", "table", "select", "label", "span", "style", "script",
    "title",
})  # fmt: skip
"""Elements that policies leave open; the browser does not infer their end tags."""
LARGEST = 0.5
"""Largest share of the page that a damage removes or moves."""
FIRST_CUT, LAST_CUT = 0.3, 0.95
"""Shares of the body between which a page is cut."""
LONGEST_TEXT = 120


def missing_section(html: str, rng: random.Random) -> str | None:
    """Removes an element with its content."""
    source = read_source(html)
    able = _shown(source)
    if not able:
        return None
    gone = rng.choice(able)
    return html[: gone.start].rstrip(" \t") + html[gone.stop :]


def truncated(html: str, rng: random.Random) -> str | None:
    """Cuts the page in its body, before an element or a line, as an answer that ended at the length limit."""
    source = read_source(html)
    first = next((element.inside for element in source.elements if element.tag == "body"), 0)
    low, high = (first + share * (len(html) - first) for share in (FIRST_CUT, LAST_CUT))
    lines = (match.end() for match in re.finditer("\n", html))
    cuts = sorted({cut for cut in (*lines, *(element.start for element in source.elements)) if low <= cut <= high})
    return html[: rng.choice(cuts)].rstrip() if cuts else None


def exchanged_texts(html: str, rng: random.Random) -> str | None:
    """Exchanges two visible texts."""
    source = read_source(html)
    shown = [
        text
        for text in source.texts
        if text.visible and source.inside_body(text.start) and _is_words(html, text.start, text.stop)
    ]
    pairs = [
        (one, other) for one, other in pairwise(shown) if html[one.start : one.stop] != html[other.start : other.stop]
    ]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    return _exchanged(html, one, other)


def open_tag(html: str, rng: random.Random) -> str | None:
    """Removes the end tag of an element."""
    able = [element for element in read_source(html).elements if element.tag in CONTAINERS]
    # The kind is drawn first: else most open tags would be those of `div`.
    kinds = sorted({element.tag for element in able})
    if not kinds:
        return None
    kind = rng.choice(kinds)
    left_open = rng.choice([element for element in able if element.tag == kind])
    return html[: left_open.end] + html[left_open.stop :]


def moved_element(html: str, rng: random.Random) -> str | None:
    """Exchanges an element with its next sibling."""
    source = read_source(html)
    families: dict[int, list[Element]] = {}
    for element in _shown(source):
        families.setdefault(element.parent, []).append(element)
    pairs = [
        (one, other)
        for family in families.values()
        for one, other in pairwise(family)
        if html[one.start : one.stop] != html[other.start : other.stop]
    ]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    return _exchanged(html, one, other)


def _exchanged(html: str, one: Element | Text, other: Element | Text) -> str:
    """The page with two of its parts exchanged, of which `one` ends before `other` begins."""
    return (
        html[: one.start]
        + html[other.start : other.stop]
        + html[one.stop : other.start]
        + html[one.start : one.stop]
        + html[other.stop :]
    )


def _shown(source: Source) -> list[Element]:
    """Elements of the body that show a text, and are not most of the page."""
    html = source.html
    texts = [text.start for text in source.texts if text.visible]
    return [
        element
        for element in source.elements
        if element.tag in SECTIONS
        and source.inside_body(element.start)
        and element.stop - element.start <= LARGEST * len(html)
        and any(element.inside <= text < element.end for text in texts)
    ]


def _is_words(html: str, start: int, stop: int) -> bool:
    text = html[start:stop]
    return len(text) <= LONGEST_TEXT and any(letter.isalnum() for letter in text)
