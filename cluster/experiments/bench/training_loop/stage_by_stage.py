"""Stage by stage: all pages are written, then all rendered, then all judged, as in a loop without overlap."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from rollout.ports import EpisodeServices

Ask = Callable[..., Awaitable[Any]]


class Stages:
    """One stage at a time: whoever asks for another waits until all that is asked of this one is answered."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.stage, self.asked = "", 0

    def only(self, stage: str, ask: Ask) -> Ask:
        """The same call, made in its stage alone."""

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


def in_lockstep(cast: EpisodeServices) -> EpisodeServices:
    """The same cast for episodes that go through their stages together."""
    stages = Stages()
    policy: Any = SimpleNamespace(complete=stages.only("generate", cast.policy.complete))
    renderer: Any = SimpleNamespace(render=stages.only("render", cast.renderer.render))
    critic: Any = SimpleNamespace(judge=stages.only("judge", cast.critic.judge))
    return EpisodeServices(policy=policy, renderer=renderer, critic=critic, score=cast.score)
