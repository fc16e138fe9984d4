"""What a page's source says of how it may change: not at all, so that one picture is every picture, or with stores."""

import re

MOVES = re.compile(
    r"<script|on\w+\s*=|javascript:|http-equiv|animat|transition|marquee|<set\b|<progress|autofocus"
    r"|<(?:video|audio|i?frame|object|embed)\b|srcdoc|data:|@font-face|content-visibility|scroll-|position-try|anchor"
    r"|\\|&#|&bsol",
    re.IGNORECASE,
)
"""What a page needs to move, or to hide that it does; on the second look at most, where it waits for a first frame."""


def is_still(html: str) -> bool:
    """Whether a page has neither script nor motion. A page in doubt may move."""
    return not MOVES.search(html)


STORES = re.compile(r"\bindexedDB\b|\bcaches\b")
"""The databases of a page that answer in real time; `localStorage` answers at once."""


TRANSITIONS = re.compile(r"\bstartViewTransition\b")


def has_transitions(html: str) -> bool:
    """Whether a page may show one state of itself turn into another, which takes the pictures of both."""
    return bool(TRANSITIONS.search(html))


FRAMES = re.compile(
    r"canvas|webgl|webgpu|requestAnimationFrame|animat|transition|filter|<svg|createElementNS|<video|scroll-",
    re.IGNORECASE,
)


def has_frames(html: str) -> bool:
    """Whether a page may change from frame to frame, so that fewer frames are less work."""
    return bool(FRAMES.search(html))


def asks_stores(html: str) -> bool:
    """Whether a page may wait for a database."""
    return bool(STORES.search(html))
