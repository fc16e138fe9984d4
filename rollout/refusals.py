"""Describes refused requests of a page in one sentence. Addresses are page content: they are truncated and cleaned."""

import re
from collections.abc import Sequence

KINDS = {
    "Script": "script",
    "Stylesheet": "stylesheet",
    "Font": "font",
    "Image": "image",
    "Media": "media file",
    "XHR": "data",
    "Fetch": "data",
    "EventSource": "event stream",
    "WebSocket": "socket",
    "Frame": "frame",
    "Manifest": "manifest",
    "TextTrack": "text track",
}
"""Request types that a page may depend on, most harmful first. Other types, such as pings, have no visible effect."""
ADDRESS_KEPT = 150
"""Characters of a refused address that a render keeps."""
NOT_MIRRORED = " (not in the library mirror)"
"""Suffix of a request that the run's library mirror could not serve."""
MOST_NAMED = 3
MAX_ADDRESS = 80
UNSAFE = re.compile(r"[^\w:/.@+~%*,()=-]+", re.ASCII)
"""Characters that are removed from addresses: quotes, brackets, spaces and control characters."""
OWN = re.compile(r"^https://[0-9a-f]{12}\.test/")
"""Origin of the pages: an address there is a file next to the page."""


def refused(blocked: Sequence[str]) -> str:
    """Describes the refused requests of a render in one sentence; empty when none of them matters.

    Each item of `blocked` is `kind address`, optionally followed by `NOT_MIRRORED`.
    """
    asked = [(kind, address) for kind, _, address in (line.partition(" ") for line in blocked) if kind in KINDS]
    asked.sort(key=lambda pair: list(KINDS).index(pair[0]))
    named = list(dict.fromkeys(f"the {KINDS[kind]} {_named(address)}" for kind, address in asked))
    if not named:
        return ""
    kept = named[:MOST_NAMED]
    more = len(named) - MOST_NAMED
    if more > 0:
        kept.append(f"{more} more")
    said = " and ".join(filter(None, (", ".join(kept[:-1]), kept[-1])))
    verb = "is" if len(named) == 1 else "are"
    return f"{said[0].upper()}{said[1:]} {verb} not available: a page is shown without network and other files."


def _named(address: str) -> str:
    plain = address.removesuffix(NOT_MIRRORED)
    return f'"{_address(plain)}"{address[len(plain) :]}'


def _address(address: str) -> str:
    """Removes query and fragment; truncates a long address in the middle."""
    plain = UNSAFE.sub("_", OWN.sub("", re.split(r"[?#]", address, maxsplit=1)[0]))
    if len(plain) <= MAX_ADDRESS:
        return plain
    half = MAX_ADDRESS // 2 - 1
    return f"{plain[:half]}…{plain[-half:]}"
