"""Writes a page while its reader watches: the text as it is generated, and every draft as soon as it is rendered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from cluster.serving.retried import Restart, RetriedPolicy
from rollout.ports import Policy, Renderer
from rollout.prompts import REVIEW
from rollout.records import Completion, Request, Task
from rollout.selfedit import Change, Draft, write_drafts
from rollout.settings import EpisodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of the text that the policy writes."""

    kind: Literal["page", "review"]
    text: str
    restart: bool = False
    """Whether the text before it does not count, because the policy begins again."""


Event = Text | Draft
"""What happens while a page is written, in order."""


class _ToldPolicy:
    """Policy port that passes the pieces of each completion to `tell`."""

    def __init__(self, policy: RetriedPolicy, tell: Callable[[Event], None]) -> None:
        self.policy, self.tell = policy, tell

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        kind: Literal["page", "review"] = "review" if request.messages[-1].content == REVIEW else "page"
        restart = True
        async for piece in self.policy.stream(request):
            if isinstance(piece, Completion):
                return (piece,)
            restart = restart or isinstance(piece, Restart)
            if isinstance(piece, str):
                self.tell(Text(kind=kind, text=piece, restart=restart))
                restart = False
        raise AssertionError("a stream ends with its completion")


async def written(
    task: Task,
    policy: RetriedPolicy,
    renderer: Renderer,
    settings: EpisodeSettings,
    *,
    rounds: int,
    seed: int,
    change: Change | None = None,
) -> AsyncIterator[Event]:
    """Yields texts and drafts of `rollout.selfedit.write_drafts`. Raises its errors.

    The first text of each completion has `restart`. The work is cancelled if the iterator is closed.
    """
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    told: Policy = _ToldPolicy(policy, events.put_nowait)

    async def work() -> None:
        drafts = write_drafts(task, told, renderer, settings, rounds=rounds, seed=seed, change=change)
        async for draft in drafts:
            events.put_nowait(draft)

    running = asyncio.create_task(work())
    running.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        await running
    finally:
        running.cancel()
