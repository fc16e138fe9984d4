"""Detects from a page's source whether it can change after loading, and whether it uses databases or view
transitions."""

import re

MOVES = re.compile(
    r"<script|on\w+\s*=|javascript:|http-equiv|animat|transition|marquee|<set\b|<progress|autofocus"
    r"|<(?:video|audio|i?frame|object|embed)\b|srcdoc|data:|@font-face|content-visibility|scroll-|position-try|anchor"
    r"|\\|&#|&bsol",
    re.IGNORECASE,
)
"""Signs of motion or of hidden motion in the source. A page without them is the same in all screenshots, at the latest
from the second frame."""


def is_still(html: str) -> bool:
    """Whether a page has neither scripts nor motion. Uncertain pages count as moving."""
    return not MOVES.search(html)


STORES = re.compile(r"\bindexedDB\b|\bcaches\b")
"""A page's databases that answer in real time; `localStorage` answers synchronously."""


TRANSITIONS = re.compile(r"\bstartViewTransition\b")


def has_transitions(html: str) -> bool:
    """Whether a page may use view transitions, which capture the page before and after a change."""
    return bool(TRANSITIONS.search(html))


FRAMES = re.compile(
    r"canvas|webgl|webgpu|requestAnimationFrame|animat|transition|filter|<svg|createElementNS|<video|scroll-",
    re.IGNORECASE,
)


def has_frames(html: str) -> bool:
    """Whether a page may change from frame to frame, so that fewer frames reduce its work."""
    return bool(FRAMES.search(html))


def asks_stores(html: str) -> bool:
    """Whether a page may wait for a database."""
    return bool(STORES.search(html))
