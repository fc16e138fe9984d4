"""Damages of a page's style. Each takes a page and a random generator, and returns None if it does not apply."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from learner.supervised.elements import read_source

DECLARATION = re.compile(r"(?P<name>[-\w]+)\s*:\s*(?P<value>[^;{}]+?)\s*(?=[;}]|\Z)")
"""A property and its value. A pseudo-class in a selector is followed by a brace, and does not match."""
STYLE_ATTRIBUTE = re.compile(r"""\sstyle=(?:"([^"]*)"|'([^']*)')""")
RULE = re.compile(r"[^{}@;/]+\{[^{}]*\}")
COLOR = re.compile(
    r"#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})\b|rgba?\([^()]*\)|hsla?\([^()]*\)"
    r"|(?<![-\w])(?:white|black|red|green|blue|gr[ae]y|orange|purple|navy|teal|yellow|pink|brown)(?![-\w])",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w#.-])(\d*\.?\d+)(px|rem|em|vh|vw|%)")
SIZES = re.compile(r"(?:font-size|line-height|letter-spacing|gap|(?:(?:min|max)-)?(?:width|height)|border-radius)\Z"
                   r"|(?:padding|margin|border)(?:-(?:top|right|bottom|left|width))?\Z")  # fmt: skip
FACTORS = (0.3, 0.5, 1.5, 2.0, 3.0)
LAYOUTS = {
    "display": ("block", "flex", "grid", "inline", "none"),
    "flex-direction": ("row", "column", "row-reverse"),
    "flex-wrap": ("wrap", "nowrap"),
    "justify-content": ("flex-start", "center", "space-between", "flex-end"),
    "align-items": ("flex-start", "center", "stretch"),
    "text-align": ("left", "center", "right"),
    "position": ("static", "relative", "absolute", "fixed"),
    "grid-template-columns": ("1fr", "1fr 1fr"),
    "float": ("left", "right", "none"),
    "overflow": ("hidden", "visible"),
}
"""Values of layout properties that replace each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A CSS declaration; `html[start:stop]` is its value."""

    name: str
    value: str
    start: int
    stop: int


def wrong_color(html: str, rng: random.Random) -> str | None:
    """Replaces a colour by another."""
    found = [
        (one.start + match.start(), one.start + match.end())
        for one in declarations(html)
        for match in COLOR.finditer(one.value)
    ]
    if not found:
        return None
    start, stop = rng.choice(found)
    other = f"#{rng.randrange(1 << 24):06x}"
    return None if other == html[start:stop].lower() else html[:start] + other + html[stop:]


def wrong_size(html: str, rng: random.Random) -> str | None:
    """Multiplies a length by one of FACTORS."""
    found = [
        (one.start + match.start(1), one.start + match.end(1), float(match[1]))
        for one in declarations(html)
        if SIZES.match(one.name)
        for match in NUMBER.finditer(one.value)
        if float(match[1]) > 0
    ]
    if not found:
        return None
    start, stop, size = rng.choice(found)
    return f"{html[:start]}{round(size * rng.choice(FACTORS), 2):g}{html[stop:]}"


def wrong_layout(html: str, rng: random.Random) -> str | None:
    """Changes the value of a layout property."""
    found = [one for one in declarations(html) if one.name in LAYOUTS]
    if not found:
        return None
    one = rng.choice(found)
    other = rng.choice([value for value in LAYOUTS[one.name] if value != one.value])
    return html[: one.start] + other + html[one.stop :]


def missing_style(html: str, rng: random.Random) -> str | None:
    """Removes a <style> element."""
    styles = [element for element in read_source(html).elements if element.tag == "style"]
    if not styles:
        return None
    gone = rng.choice(styles)
    return html[: gone.start].rstrip(" \t") + html[gone.stop :]


def missing_rule(html: str, rng: random.Random) -> str | None:
    """Removes a rule of a <style> element."""
    rules = [
        (start + match.start(), start + match.end())
        for start, stop in _styles(html)
        for match in RULE.finditer(html[start:stop])
    ]
    if not rules:
        return None
    start, stop = rng.choice(rules)
    return html[:start] + html[stop:]


def declarations(html: str) -> list[Declaration]:
    """The declarations of <style> elements and style attributes, in order of their kind and position."""
    attributes = (
        (match.start(match.lastindex or 0), match.end(match.lastindex or 0)) for match in STYLE_ATTRIBUTE.finditer(html)
    )
    ranges = [*_styles(html), *attributes]
    return [
        Declaration(
            name=match["name"].lower(),
            value=match["value"],
            start=start + match.start("value"),
            stop=start + match.end("value"),
        )
        for start, stop in ranges
        for match in DECLARATION.finditer(html[start:stop])
    ]


def _styles(html: str) -> Iterator[tuple[int, int]]:
    """Ranges of the contents of the <style> elements."""
    for element in read_source(html).elements:
        if element.tag == "style":
            yield element.inside, element.end
