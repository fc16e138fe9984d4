"""The hands: policy engines, browsers and critics."""

from typing import Literal

from pydantic import Field

from rollout.settings import Settings


class PolicySettings(Settings):
    """vLLM policy engines."""

    engines: int = Field(default=1, ge=1)
    """Engines, each an actor of its own."""


class BrowserSettings(Settings):
    """Headless browsers."""

    count: int = Field(default=1, ge=1)
    """Browsers, each an actor with a Chromium process of its own; one a core."""


class CriticSettings(Settings):
    """Critics."""

    kind: Literal["visual"] = "visual"
    """`visual` is the embedded reference-based critic."""
    count: int = Field(default=1, ge=1)
    """Critic actors."""
