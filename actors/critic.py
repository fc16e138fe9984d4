"""The critic actor: fetches the pixels and judges off the event loop."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reward.visual.critic import JUDGE, VisualCritic
from rollout.errors import CriticFault
from rollout.records import Critique, Page, Render, Task


class VisualCriticActor:
    """The embedded critic at work. `fetch` turns what `Shot.picture` holds into PNG bytes."""

    def __init__(self, fetch: Callable[[Any], bytes] = bytes) -> None:
        self.fetch = fetch
        self._critic = VisualCritic()

    async def judge(self, task: Task, page: Page, render: Render, reference: Render | None) -> Critique:
        """See `rollout.ports.Critic`. Raises CriticFault for a task without a reference page that renders."""
        if reference is None or not reference.valid:
            got = "none" if reference is None else f"one that ends in {reference.outcome!r} ({reference.detail})"
            raise CriticFault(f"task {task.id}: the visual critic needs a reference page that renders, got {got}")
        return await asyncio.to_thread(self._judge, task, page, render, reference)

    async def ping(self) -> str:
        """Who judges here."""
        return JUDGE

    def _judge(self, task: Task, page: Page, render: Render, reference: Render) -> Critique:
        started = time.monotonic()
        pictures = self._pictures(task, render), self._pictures(task, reference)
        critique = self._critic.judge(task, page, render, reference, *pictures)
        return replace(critique, seconds=time.monotonic() - started)

    def _pictures(self, task: Task, render: Render) -> tuple[bytes, ...]:
        """The PNGs of the timed shots; equal pictures are fetched once."""
        timed = [shot for shot in render.shots if not shot.label]
        if any(shot.picture is None for shot in timed):
            raise CriticFault(f"task {task.id}: the pictures of page {render.page_sha256[:12]} were not kept")
        fetched: dict[str, bytes] = {}
        for shot in timed:
            if shot.sha256 not in fetched:
                fetched[shot.sha256] = self.fetch(shot.picture)
        return tuple(fetched[shot.sha256] for shot in timed)
