"""Admission to a policy engine: nobody is served while it is not proven that the engine holds the learner's weights.

    shut ──hold──► held ──open──► open
      ▲              │              │
      └────shut──────┴────shut──────┘

Shut, callers are refused: the engine has not started, lost its health, or a sync of it failed. Held, callers wait for
the verdict of a sync under way. What was being written when a sync began goes on under the new weights, between the
swap and the proof as well, for stopping it would cost more than the proof does; but nothing leaves before the verdict,
and when that is bad all of it is dropped.
"""

import asyncio

from rollout.errors import EngineFault


class Admission:
    """Whether an engine serves those who ask."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.why = "has not started"
        """Why it is shut; empty while it is not."""
        self.losses = 0
        """Times that all which was being written has been given up."""
        self._settled = asyncio.Event()
        self._settled.set()

    def hold(self) -> None:
        """A sync begins: who comes now waits for its verdict."""
        self.why = ""
        self._settled.clear()

    def open(self) -> None:
        """The engine holds what it should."""
        self.why = ""
        self._settled.set()

    def shut(self, why: str) -> None:
        """Refuses everybody, those who wait as well, and what is being written is given up."""
        self.why = why
        self.losses += 1
        self._settled.set()

    @property
    def held(self) -> bool:
        """Whether a verdict is awaited."""
        return not self._settled.is_set()

    def check(self) -> None:
        """Raises EngineFault while the gate is shut; held is good enough for what finds out whether to open it."""
        if self.why:
            raise EngineFault(f"{self.name} {self.why}")

    async def passed(self, patience_s: float) -> None:
        """Returns once the gate is open. Raises EngineFault when it is shut, or held for too long."""
        try:
            async with asyncio.timeout(patience_s):
                while self.held:
                    await self._settled.wait()
        except TimeoutError:
            raise EngineFault(f"{self.name} has waited {patience_s:g} s for its new weights to be proven") from None
        self.check()
