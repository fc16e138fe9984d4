"""Delivery to an MLflow server that may be slow or unreachable; the caller repeats what failed."""

import time
from collections.abc import Callable
from typing import Any

REST_S = 10.0
"""Seconds without delivery attempts after a failed delivery."""
AGAIN_S, LAST_PATIENCE_S = 2.0, 60.0
"""Retry interval and total timeout in seconds for the last deliveries of a run."""


class Delivery:
    """Calls methods of an MLflow client; a failed call returns False and pauses all calls for `REST_S`."""

    def __init__(self, failures: tuple[type[Exception], ...], note: Callable[[str], None]) -> None:
        """`failures` are caught; `note` is called when the server becomes unreachable and when it recovers."""
        self.failures, self.note = failures, note
        self._away_since = self._rest_until = 0.0

    def send(self, method: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
        """Calls a method unless the server failed within the last `REST_S`. Returns whether the call succeeded."""
        if time.monotonic() < self._rest_until:
            return False
        try:
            method(*args, **kwargs)
        except self.failures as error:
            self._rest_until = time.monotonic() + REST_S
            if not self._away_since:
                self._away_since = time.monotonic()
                self.note(f"MLflow did not accept {method.__name__} ({_reason(error)}); the run's own files have it")
            return False
        if self._away_since:
            self.note(f"MLflow accepts data again after {time.monotonic() - self._away_since:.0f} s")
            self._away_since = 0.0
        return True

    def send_now(self, method: Callable[..., object], *args: Any) -> bool:
        """`send` without a pause after an earlier failure, for the last call of a run."""
        self._rest_until = 0.0
        return self.send(method, *args)

    def reach(self, method: Callable[..., object], *args: Any) -> None:
        """Repeats a call to an unreachable server for up to `LAST_PATIENCE_S`, before the last deliveries of a run."""
        deadline = time.monotonic() + LAST_PATIENCE_S
        while self._away_since and time.monotonic() < deadline:
            if not self.send_now(method, *args):
                time.sleep(AGAIN_S)


def _reason(error: Exception) -> str:
    """First informative line of an error; SQLAlchemy's may start with a line about when it was raised."""
    lines = (line for line in str(error).splitlines() if not line.startswith("(raised as a result"))
    return next(lines, "")[:200]
