"""A baseline without overlap: all pages are generated, then all rendered, then all judged."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from rollout.ports import EpisodeServices

Ask = Callable[..., Awaitable[Any]]


class Stages:
    """Runs one stage at a time: calls of another stage wait until all current calls have returned."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.stage, self.asked = "", 0

    def only(self, stage: str, ask: Ask) -> Ask:
        """Wraps a call so that it runs only during its stage."""

        async def waits(*args: Any, **kwargs: Any) -> Any:
            async with self.changed:
                await self.changed.wait_for(lambda: self.stage in ("", stage))
                self.stage, self.asked = stage, self.asked + 1
            try:
                return await ask(*args, **kwargs)
            finally:
                async with self.changed:
                    self.asked -= 1
                    if not self.asked:
                        self.stage = ""
                        self.changed.notify_all()

        return waits


def in_lockstep(services: EpisodeServices) -> EpisodeServices:
    """Wraps the services so that all episodes go through their stages together."""
    stages = Stages()
    policy: Any = SimpleNamespace(complete=stages.only("generate", services.policy.complete))
    renderer: Any = SimpleNamespace(render=stages.only("render", services.renderer.render))
    critic: Any = SimpleNamespace(judge=stages.only("judge", services.critic.judge))
    return EpisodeServices(policy=policy, renderer=renderer, critic=critic, score=services.score)
