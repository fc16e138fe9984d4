"""A policy actor whose weights never change: its health check replaces a dead engine."""

import asyncio
import logging

from actors.policy.engine import VLLMPolicy
from actors.settings import PolicySettings
from rollout.errors import EngineFault

logger = logging.getLogger(__name__)


class FixedPolicy(VLLMPolicy):
    """Policy for inference. An engine that died, or a restarted actor, is started again by the next `ping`.

    In training, engines hold weights that only a sync can restore (`VLLMPolicy`).
    """

    def __init__(self, model_dir: str, settings: PolicySettings, *, seed: int, rank: int = 0) -> None:
        """See `VLLMPolicy`."""
        super().__init__(model_dir, settings, seed=seed, rank=rank)
        self._turn = asyncio.Lock()

    async def ping(self) -> None:
        """Health check by generating one token, after a restart if the engine is dead. Raises EngineFault."""
        async with self._turn:
            if not self._alive():
                await self.stop()
                await self.start()
                logger.warning("%s was started again", self.name)
        await super().ping()

    def _alive(self) -> bool:
        try:
            self.admission.check()
            self.engine.running()
        except EngineFault:
            return False
        return True
