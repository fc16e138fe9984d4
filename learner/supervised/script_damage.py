"""Damages of a page's scripts. Each takes a page and a random generator, and returns None if it does not apply."""

import random
import re
from collections.abc import Iterator

from learner.supervised.elements import read_source

DECLARED = re.compile(r"\b(?:const|let|var|function|class)\s+([A-Za-z_$][\w$]{2,})")
LISTENER = re.compile(r"[A-Za-z_$][\w$.]*(?:\([^()\n]*\))?\??\.addEventListener\(")
PROPERTY = re.compile(r"[A-Za-z_$][\w$.]*\.on(?:click|input|change|submit|keydown|pointerdown)\s*=(?!=)")
ATTRIBUTE = re.compile(
    r"""\son(?:click|input|change|submit|keydown|pointerdown)\s*=\s*(?:"[^"]*"|'[^']*')""", re.IGNORECASE
)
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|[()\[\]{};]""", re.DOTALL
)
"""Comments and strings, whose brackets do not count, and brackets."""


def undefined_name(html: str, rng: random.Random) -> str | None:
    """Misspells a declared name where a script uses it."""
    uses: list[tuple[int, int]] = []
    for start, stop in _scripts(html):
        script = html[start:stop]
        for name in sorted(set(DECLARED.findall(script))):
            declared = {match.start(1) for match in DECLARED.finditer(script)}
            # Not a property, nor a key of an object.
            found = re.finditer(rf"(?<![\w$.'\"`-]){re.escape(name)}(?![\w$'\"`-]|\s*:)", script)
            uses += [(start + use.start(), start + use.end()) for use in found if use.start() not in declared]
    if not uses:
        return None
    start, stop = rng.choice(uses)
    name = html[start:stop]
    spellings = (f"{name}s", name[:-1], f"{name[0].swapcase()}{name[1:]}", f"{name}_")
    unknown = [one for one in spellings if not re.search(rf"(?<![\w$]){re.escape(one)}(?![\w$])", html)]
    return html[:start] + rng.choice(unknown) + html[stop:] if unknown else None


def missing_handler(html: str, rng: random.Random) -> str | None:
    """Removes an event handler: an attribute, a call of addEventListener, or the assignment to a property."""
    found = [*_statements(html), *((match.start(), match.end()) for match in ATTRIBUTE.finditer(html))]
    if not found:
        return None
    start, stop = rng.choice(found)
    return html[:start] + html[stop:]


def _statements(html: str) -> Iterator[tuple[int, int]]:
    """Ranges of the statements that set a handler."""
    for start, stop in _scripts(html):
        script = html[start:stop]
        for match in LISTENER.finditer(script):
            end = _closed(script, match.end(), depth=1)
            if end is not None:
                semicolon = script[end : end + 1] == ";"
                yield start + match.start(), start + end + semicolon
        for match in PROPERTY.finditer(script):
            end = _closed(script, match.end(), depth=0)
            if end is not None:
                yield start + match.start(), start + end


def _closed(script: str, start: int, depth: int) -> int | None:
    """Offset behind the bracket that closes the brackets open at `start`, or the semicolon for none; None if there is
    none."""
    until_semicolon = depth == 0
    for token in TOKEN.finditer(script, start):
        if token[0] in ("(", "[", "{"):
            depth += 1
        elif token[0] in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                return None
            if depth == 0 and not until_semicolon:
                return token.end()
        elif token[0] == ";" and depth == 0 and until_semicolon:
            return token.end()
    return None


def _scripts(html: str) -> Iterator[tuple[int, int]]:
    """Ranges of the contents of the <script> elements."""
    for element in read_source(html).elements:
        if element.tag == "script" and element.end > element.inside:
            yield element.inside, element.end
