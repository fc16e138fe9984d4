"""Screenshots of one page, in the order taken."""

import hashlib
from collections.abc import Callable
from typing import Any

from reward.validity import is_blank
from rollout.records import Shot


class Screenshots:
    """Turns PNGs into Shots; equal pictures are converted once.

    `size` is the viewport in CSS pixels. `put` converts PNG bytes to `Shot.picture`.
    """

    def __init__(self, size: tuple[int, int], put: Callable[[bytes], Any]) -> None:
        self.width, self.height = size
        self.put = put
        self.shots: list[Shot] = []
        self.blank: list[bool] = []
        """Whether each timed screenshot is blank."""
        self.last = b""
        """PNG of the last timed screenshot, which shows the snapshot's state."""

    def keep(self, png: bytes, at_ms: int, label: str = "", height: int = 0) -> None:
        """Adds a screenshot at page time `at_ms`. A label marks one that is not timed; `height` 0 is the viewport's."""
        digest = hashlib.sha256(png).hexdigest()
        twin = next((i for i, shot in enumerate(self.shots) if shot.sha256 == digest), None)
        if not label:
            self.blank.append(is_blank(png) if twin is None else self.blank[twin])
            self.last = png
        self.shots.append(
            Shot(
                at_ms=at_ms,
                sha256=digest,
                width=self.width,
                height=height or self.height,
                picture=self.put(png) if twin is None else self.shots[twin].picture,
                label=label,
            )
        )
