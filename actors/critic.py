"""The critic actor: fetches pixels by reference and lets the embedded critic look at them."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from reward.visual.critic import TIMED_SHOTS, VisualCritic
from rollout.errors import CriticFault
from rollout.records import Critique, Page, Render, Task


def same(picture: Any) -> bytes:
    """Pixels that are here already."""
    return bytes(picture)


class VisualCriticActor:
    """The Critic port over the embedded visual critic."""

    def __init__(self, fetch: Callable[[Any], bytes] = same) -> None:
        """`fetch` turns what a shot refers to into PNG bytes."""
        self.fetch = fetch
        self.critic = VisualCritic()
        self.turn = threading.Lock()

    async def judge(self, task: Task, page: Page, render: Render, reference: Render | None) -> Critique:
        """See `rollout.ports.Critic`. Raises CriticFault for a task without a reference page."""
        if reference is None:
            raise CriticFault(
                f"task {task.id}: the visual critic compares with a reference page, and the task has none; give it a "
                "reference_html, or choose another critic"
            )
        return await asyncio.to_thread(self._judge, task, render, reference)

    async def ping(self) -> str:
        """Says that it is there."""
        return "critic"

    def _judge(self, task: Task, render: Render, reference: Render) -> Critique:
        shots = [self.fetch(shot.picture) for shot in render.shots[:TIMED_SHOTS]]
        wanted = [self.fetch(shot.picture) for shot in reference.shots[:TIMED_SHOTS]]
        with self.turn:
            return self.critic.judge(task, render, reference, shots, wanted)
