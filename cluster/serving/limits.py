"""Bounds of what the server accepts from its clients."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes, rates and times; requests beyond them are refused with 413, 429 or 503."""

    body_bytes: int = 8_000_000
    """Maximum size of a request."""
    html_chars: int = 2_000_000
    """Maximum length of a page in a request."""
    brief_chars: int = 20_000
    """Maximum length of a brief."""
    max_tokens: int = 4096
    """Maximum tokens of one answer."""
    max_rounds: int = 3
    """Maximum rounds of self-edit."""
    running: int = 64
    """Requests that are answered at the same time."""
    waiting: int = 64
    """Further requests that wait for their turn; more are refused."""
    per_minute: float = 600.0
    """Requests a minute of one key, or of one address without keys."""
    timeout_s: float = 600.0
    """Seconds after which a request is given up."""
