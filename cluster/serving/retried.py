"""Ports whose calls are repeated once after a machine fault, on another actor or after the restart of the same one."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from rollout.errors import BrowserFault, CriticFault, EngineFault
from rollout.ports import Critic, RenderedPage, Renderer
from rollout.records import Comparison, Completion, Critique, Page, Probe, Render, Request, Task, Viewport
from rollout.retry import Retries

logger = logging.getLogger(__name__)
RETRIES = 1


class StreamingPolicy(Protocol):
    """A policy that also yields the text of a completion while it is generated."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        ...

    def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yields the text of one completion in pieces, then the completion."""
        ...


@dataclass(frozen=True, slots=True)
class Restart:
    """Marks that a repeated call writes another text: the pieces before it do not count."""


Piece = str | Restart | Completion


class RetriedPolicy:
    """Policy port with one retry of each completion."""

    def __init__(self, policy: StreamingPolicy) -> None:
        self.policy = policy

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """See `rollout.ports.Policy`."""
        return await Retries("completion", RETRIES, fault=EngineFault).call(lambda: self.policy.complete(request))

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Yields the pieces of one completion, then the completion. Raises EngineFault after a second fault.

        A seed gives the same text again, of which the pieces that were sent are left out; if the texts differ, a
        Restart precedes the whole new one.
        """
        sent = ""
        try:
            async for piece in self.policy.stream(request):
                sent += piece if isinstance(piece, str) else ""
                yield piece
            return
        except EngineFault as fault:
            logger.warning("completion: retry 1 of 1 after %r", fault)
        async for rest in without_prefix(self.policy.stream(request), sent):
            yield rest


async def without_prefix(pieces: AsyncIterator[str | Completion], sent: str) -> AsyncIterator[Piece]:
    """Yields the pieces of a text that follow `sent`; if the text has another beginning, a Restart and all of it."""
    text = ""
    matched = False
    async for piece in pieces:
        if matched:
            yield piece
            continue
        whole = text + piece if isinstance(piece, str) else text
        if isinstance(piece, str) and sent.startswith(whole) and whole != sent:
            text = whole
            continue
        matched = True
        if not whole.startswith(sent):
            yield Restart()
        rest = whole.removeprefix(sent) if whole.startswith(sent) else whole
        if rest:
            yield rest
        if not isinstance(piece, str):
            yield piece


class RetriedRenderer:
    """Renderer port with one retry of each render."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """See `rollout.ports.Renderer`."""
        retries = Retries("render", RETRIES, fault=BrowserFault)
        return await retries.call(lambda: self.renderer.render(page, probes, viewports))


class RetriedCritic:
    """Critic port with one retry of each judgment."""

    def __init__(self, critic: Critic) -> None:
        self.critic = critic

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`."""
        retries = Retries("judgment", RETRIES, fault=CriticFault)
        return await retries.call(lambda: self.critic.judge(task, page, render, reference, fresh=fresh))

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """See `rollout.ports.Critic`."""
        retries = Retries("comparison", RETRIES, fault=CriticFault)
        return await retries.call(lambda: self.critic.compare(task, old, new, reference))
