"""Background jobs: one thread that runs slow deliveries in order, so that no step waits for them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class BackgroundJobs:
    """Jobs of one background thread, run in the order of submission."""

    def __init__(self, name: str) -> None:
        """`name` is the prefix of the thread's name."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._jobs: list[Future[Any]] = []

    def submit(self, work: Callable[..., Any], *args: Any) -> None:
        """Queues a job. Raises the exception of an earlier job that failed."""
        for job in [job for job in self._jobs if job.done()]:
            self._jobs.remove(job)
            job.result()
        self._jobs.append(self._executor.submit(work, *args))

    def finish(self) -> None:
        """Waits for all jobs; no more can be submitted. Raises the exception of the first job that failed."""
        self._executor.shutdown(wait=True)
        for job in self._jobs:
            job.result()
