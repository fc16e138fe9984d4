"""Notices when a server stops answering, and when it answers again."""

import time
from collections.abc import Callable

AWAY = 2
"""Consecutive unanswered requests that are reported as an outage."""


class Outage:
    """Counts consecutive unanswered requests of one server. A single one is normal and not reported."""

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name, self.report = name, report
        self._unanswered, self._since = 0, 0.0

    def unanswered(self, why: str) -> None:
        """Counts an unanswered request."""
        self._unanswered += 1
        if self._unanswered == 1:
            self._since = time.monotonic()
        if self._unanswered == AWAY:
            self.report(f"{self.name} does not answer ({why}); judgments wait until it does")

    def answered(self) -> None:
        """Ends the outage, if there is one."""
        if self._unanswered >= AWAY:
            self.report(f"{self.name} answers again after {time.monotonic() - self._since:.0f} s")
        self._unanswered = 0
