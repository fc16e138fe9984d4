"""Detects from a page's source whether it can change, runs in real time, and uses databases or view transitions."""

import re

MOVES = re.compile(
    r"<script|on\w+\s*=|javascript:|http-equiv|animat|transition|marquee|<set\b|<progress|autofocus"
    r"|<(?:video|audio|i?frame|object|embed)\b|srcdoc|data:|@font-face|content-visibility|scroll-|position-try|anchor"
    r"|\\|&#|&bsol",
    re.IGNORECASE,
)
"""Signs of motion or hidden motion; also of a change by the second screenshot, for features that wait for a first
frame."""


def is_still(html: str) -> bool:
    """Whether a page has neither script nor motion; uncertain pages may move."""
    return not MOVES.search(html)


STORES = re.compile(r"\bindexedDB\b|\bcaches\b")
"""Databases that answer in real time; `localStorage` is synchronous."""


TRANSITIONS = re.compile(r"\bstartViewTransition\b")


def has_transitions(html: str) -> bool:
    """Whether a page may use view transitions, which capture it before and after a change."""
    return bool(TRANSITIONS.search(html))


FRAMES = re.compile(
    r"canvas|webgl|webgpu|requestAnimationFrame|animat|transition|filter|<svg|createElementNS|<video|scroll-",
    re.IGNORECASE,
)


def has_frames(html: str) -> bool:
    """Whether a page may change between frames, so that fewer frames are less work."""
    return bool(FRAMES.search(html))


def asks_stores(html: str) -> bool:
    """Whether a page may wait for a database."""
    return bool(STORES.search(html))


REAL_TIME = re.compile(
    r"\bWorker\b|\bSharedWorker\b|\bWorklet\b|webgl|webgpu|\bWebAssembly\b|\bAudioContext\b|<(?:video|audio)\b"
    r"|getEntries|PerformanceObserver|performance\.(?:timing|memory|toJSON)|\bgenerateKey\b"
    rf"|{STORES.pattern}",
    re.IGNORECASE,
)
"""Signs of what virtual time does not control: worker threads, GPU emulation, media, databases, the browser's
measurements of itself, unpredictable keys."""
FREE_TIME = re.compile(
    rf"{REAL_TIME.pattern}|animat|transition|smooth|<marquee|<progress|autofocus|toBlob", re.IGNORECASE
)
"""Signs of what virtual time does not control either when frames are not controlled."""


def runs_in_real_time(html: str, *, framed: bool) -> bool:
    """Whether a page may do something that virtual time does not control; `framed` is whether frames are controlled."""
    return bool((REAL_TIME if framed else FREE_TIME).search(html))
