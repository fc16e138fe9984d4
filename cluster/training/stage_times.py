"""Wall time by stage: of a step, of a run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Stopwatch: accumulates wall seconds by stage."""

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        """Adds to `seconds` where it is given, else to a new dict."""
        self.seconds = {} if seconds is None else seconds

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Context manager that times a block as a stage, also when the block raises."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
