"""Admission control of a policy engine: completions are returned only under weights proven to be the learner's.

    shut ──hold──► held ──open──► open
      ▲              │              │
      └────shut──────┴────shut──────┘

Shut: requests are refused (not started, unhealthy, or a failed sync). Held: requests wait for the verdict of a sync.
Completions running when a sync begins continue under the new weights, also before the proof, because stopping them
costs more than the proof. They are returned only after the verdict; a failed proof drops them all.
"""

import asyncio

from rollout.errors import EngineFault


class Admission:
    """Admission state of one engine: shut, held or open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.why = "has not started"
        """Why it is shut; empty otherwise."""
        self.losses = 0
        """Times that all running completions were dropped."""
        self._settled = asyncio.Event()
        self._settled.set()

    def hold(self) -> None:
        """A sync begins: new requests wait for its verdict."""
        self.why = ""
        self._settled.clear()

    def open(self) -> None:
        """The weights are proven: serves requests."""
        self.why = ""
        self._settled.set()

    def shut(self, why: str) -> None:
        """Refuses all requests, including waiting ones, and marks running completions as dropped."""
        self.why = why
        self.losses += 1
        self._settled.set()

    @property
    def held(self) -> bool:
        """Whether a sync's verdict is pending."""
        return not self._settled.is_set()

    def check(self) -> None:
        """Raises EngineFault when shut; requests that decide a verdict may run when held."""
        if self.why:
            raise EngineFault(f"{self.name} {self.why}")

    async def passed(self, patience_s: float) -> None:
        """Waits until open. Raises EngineFault when shut, or held for more than `patience_s` seconds."""
        try:
            async with asyncio.timeout(patience_s):
                while self.held:
                    await self._settled.wait()
        except TimeoutError:
            raise EngineFault(f"{self.name}: the new weights were not proven within {patience_s:g} s") from None
        self.check()
