"""What a page asked for and did not get, in one sentence. Addresses are the page's words: they are cut and cleaned."""

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
"""Kinds of request that a page may need, worst first. Others, such as pings, change nothing that can be seen."""
NOT_MIRRORED = " (not in the library mirror)"
"""How the line of a request ends that a run's mirror was asked for in vain."""
MOST_NAMED = 3
MAX_ADDRESS = 80
UNSAFE = re.compile(r"[^\w:/.@+~%*,()=-]+", re.ASCII)
"""Letters that no plain address needs: quotes, brackets, spaces and controls."""
OWN = re.compile(r"^https://[0-9a-f]{12}\.test/")
"""The origin that pages are given: a file beside the page."""


def refused(blocked: Sequence[str]) -> str:
    """One sentence on the refused requests of a render; empty when the page needed none.

    Each is `kind address`, with `NOT_MIRRORED` behind it where that is so.
    """
    asked = [(kind, address) for kind, _, address in (line.partition(" ") for line in blocked) if kind in KINDS]
    asked.sort(key=lambda pair: list(KINDS).index(pair[0]))
    named = list(dict.fromkeys(f"the {KINDS[kind]} {_named(address)}" for kind, address in asked))
    if not named:
        return ""
    kept, more = named[:MOST_NAMED], len(named) - MOST_NAMED
    if more > 0:
        kept.append(f"{more} more")
    said = " and ".join(filter(None, (", ".join(kept[:-1]), kept[-1])))
    verb = "is" if len(named) == 1 else "are"
    return f"{said[0].upper()}{said[1:]} {verb} not available: a page is shown without network and other files."


def _named(address: str) -> str:
    plain = address.removesuffix(NOT_MIRRORED)
    return f'"{_address(plain)}"{address[len(plain) :]}'


def _address(address: str) -> str:
    """Without query and fragment; one that is too long keeps host and file name."""
    plain = UNSAFE.sub("_", OWN.sub("", re.split(r"[?#]", address, maxsplit=1)[0]))
    if len(plain) <= MAX_ADDRESS:
        return plain
    half = MAX_ADDRESS // 2 - 1
    return f"{plain[:half]}…{plain[-half:]}"
