"""Retries of calls that fail with a machine fault.

| module                            | call                                 | retries                            |
|-----------------------------------|--------------------------------------|------------------------------------|
| `rollout.episode`                 | one sampling, judgment or comparison | `episode.retries` for the episode, |
|                                   |                                      | the nth after 0.5 s · n            |
| `cluster.distributed.clients`     | a group, if its worker is lost       | 2                                  |
| `cluster.distributed.clients`     | a weight transfer, after EngineFault | 1                                  |
| `cluster.training.exam`           | an episode, self-edit or review      | 2                                  |
| `cluster.training.drift`          | the judgment of a fixed page         | 2                                  |
| `cluster.training.compare_judges` | the new judgment of a stored page    | 2                                  |
| `cluster.preflight.references`    | a reference page, after BrowserFault | 2                                  |
| `cluster.serving.retried`         | one call for a request of a client   | 1                                  |

Three mechanisms have retries of their own: the blocking start of Ray (`cluster.distributed.connection`, 2 retries);
the actors of a run (`cluster.train`, launched again up to 3 times for one step); requests to the servers of judges
(`actors.judge_api.client`, until a deadline). Failed actors are pinged until they answer
(`cluster.distributed.permits`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rollout.errors import MachineError, StorageFault

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Retries:
    """A number of retries, which several calls in sequence may share.

    StorageFault is never retried: every further call would fail on the same disk.
    """

    def __init__(
        self, name: str, limit: int, *, fault: type[MachineError] = MachineError, backoff_s: float = 0.0
    ) -> None:
        """Only exceptions of class `fault` are retried. `name` identifies the caller in log lines.

        The wait before retry n is n times `backoff_s`.
        """
        self.name = name
        self.limit = limit
        self.fault = fault
        self.backoff_s = backoff_s
        self.faults: list[MachineError] = []
        """Faults that were retried, oldest first."""

    async def call(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Awaits `ask()` and repeats it after a fault while retries are left; then the fault propagates."""
        while True:
            try:
                return await ask()
            except StorageFault:
                raise
            except self.fault as fault:
                if len(self.faults) >= self.limit:
                    raise
                self.faults.append(fault)
                logger.warning("%s: retry %d of %d after %r", self.name, len(self.faults), self.limit, fault)
            await asyncio.sleep(self.backoff_s * len(self.faults))
