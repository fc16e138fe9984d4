"""Sleep of a policy engine: it gives its GPU memory to the learner that shares the GPU, for the time of an update.

    open ──start──► held, asleep ──end──► held ──sync, prove──► open

Requests wait from the start of the sleep to the proof of the next sync. At level 2 the weights are discarded, so only a
sync of all weights makes the engine usable again.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from actors.policy.vllm_engine import VLLMEngine, one_line
from rollout.errors import EngineFault


class EngineSleep:
    """Puts one engine to sleep and wakes it; both are safe to repeat."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.engine = engine
        self.asleep = False
        self._checks = 0
        """Health checks that run."""
        self._unchecked = asyncio.Event()
        self._unchecked.set()
        self._turn = asyncio.Lock()

    def reset(self) -> None:
        """Forgets the state of an engine that was stopped."""
        self.asleep = False

    async def start(self) -> None:
        """Releases GPU memory at level `policy.sleep_level`. Raises EngineFault.

        Running completions are dropped: on-policy, none runs while the learner updates.
        """
        async with self._turn:
            if self.asleep:
                return
            self.engine.admission.check()
            self.engine.admission.hold()
            self.asleep = True
            await self._call(self._unchecked.wait(), "to finish a health check")
            level = self.engine.settings.sleep_level
            await self._call(self.engine.running().sleep(level=level, mode="abort"), "to sleep")

    async def end(self) -> None:
        """Takes the GPU memory back; requests go on waiting for the proof of a sync. Raises EngineFault."""
        async with self._turn:
            if self.asleep:
                await self._call(self.engine.running().wake_up(), "to wake")
                self.asleep = False

    @contextmanager
    def health_check(self) -> Iterator[bool]:
        """Context manager of a health check; yields False for an engine that sleeps, which cannot generate.

        An engine does not go to sleep during a check.
        """
        if self.asleep:
            yield False
            return
        self._checks += 1
        self._unchecked.clear()
        try:
            yield True
        finally:
            self._checks -= 1
            if not self._checks:
                self._unchecked.set()

    async def _call(self, call: Coroutine[Any, Any, Any], what: str) -> None:
        """Awaits a call; requests are refused if it fails."""
        try:
            await self.engine.within(call, what)
        except Exception as error:
            self.asleep = False
            self.engine.admission.shut(f"failed {what}")
            raise EngineFault(f"{self.engine.name} failed {what}: {one_line(error)}") from error
