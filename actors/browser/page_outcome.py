"""The outcome of one page: valid until something is observed that rejects it."""

import asyncio
from collections.abc import Sequence

from reward.validity import blank_detail
from rollout.records import Outcome, Shot

LARGEST_SIDE = 100_000


class PageOutcome:
    """The outcome and its detail, which the policy reads. `over` is set once the page must stop."""

    def __init__(self) -> None:
        self.kind: Outcome = "ok"
        self.detail = ""
        self.judged = False
        """Whether timed screenshots and snapshot exist: later faults cost probes, not validity."""
        self.over = asyncio.Event()

    def end(self, kind: Outcome, detail: str) -> None:
        """Stops the page. The first reason counts; a judged page stays valid."""
        if self.over.is_set():
            return
        self.over.set()
        self.detail = detail
        if not self.judged:
            self.kind = kind

    def judge_load(self, thrown: Sequence[str]) -> None:
        """After the first screenshot: exceptions thrown so far make the page invalid; screenshots continue."""
        if thrown:
            self._reject("exception", thrown[0])

    def judge_pictures(
        self, document: tuple[int, int], left_for: str, shots: Sequence[Shot], blank: Sequence[bool]
    ) -> None:
        """After screenshots and snapshot: rejects pages that are blank, navigate away or are too large.

        `document` is in CSS pixels, `left_for` the first address navigated to, if any, `blank` one value per timed
        screenshot.
        """
        width, height = document
        if self.kind == "ok":
            if left_for:
                self._reject("blocked_navigation", f"the page tried to leave for {left_for}")
            elif max(width, height) > LARGEST_SIDE:
                self._reject("too_large", f"the document is {width} x {height} pixels")
            elif said := blank_detail(shots, blank):
                self._reject("blank", said)
        self.judged = True

    def _reject(self, kind: Outcome, detail: str) -> None:
        self.kind = kind
        self.detail = detail
