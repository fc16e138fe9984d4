"""Wall time of the stages of a step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Stopwatch: accumulates wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Context manager that times a block as a stage."""
        started = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
