"""Self-editing inference without a critic: the policy writes a page, reviews it, and revises it.

A revision is rejected only if it does not render validly, a cheap check.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from rollout import prompts
from rollout.errors import PromptTooLong
from rollout.parsing import parse_answer, parse_feedback
from rollout.ports import Policy, Renderer
from rollout.records import Message, Page, Render, Request, Task
from rollout.seeds import seed_of
from rollout.settings import EpisodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The current page after one round of self-editing."""

    round: int
    """Round number; 0 is the base decode."""
    page: Page
    render: Render | None
    feedback: tuple[str, ...] = ()
    """The policy's review of the previous draft."""
    kept: bool = True
    """False when this round's revision was rejected and the previous draft is kept."""
    tokens: int
    """Tokens generated so far, including reviews."""
    seconds: float
    """Seconds since the start of the task."""

    @property
    def valid(self) -> bool:
        """Whether the page renders validly."""
        return self.render is not None and self.render.valid


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A second brief for a page that exists."""

    page: Page
    brief: str
    """Description of the changes; the policy receives it as feedback on the page."""


async def self_edit(
    task: Task, policy: Policy, renderer: Renderer, settings: EpisodeSettings, *, rounds: int, seed: int
) -> tuple[Draft, ...]:
    """Runs self-editing on a task: one draft a round, the base decode first. Raises MachineError."""
    written = write_drafts(task, policy, renderer, settings, rounds=rounds, seed=seed)
    return tuple([draft async for draft in written])


async def write_drafts(
    task: Task,
    policy: Policy,
    renderer: Renderer,
    settings: EpisodeSettings,
    *,
    rounds: int,
    seed: int,
    change: Change | None = None,
) -> AsyncIterator[Draft]:
    """Yields the drafts of `self_edit`, each as soon as it is rendered.

    With `change`, the first draft is a revision of that page. Raises MachineError, and PromptTooLong if the first
    prompt leaves no room for a page.
    """
    editor = _Editor(policy=policy, renderer=renderer, settings=settings, seed=seed_of(seed, task.id, "edit"))
    best = await (editor.draft(prompts.first(task), 0) if change is None else editor.change(task, change))
    yield best
    for number in range(1, rounds + 1):
        try:
            feedback = await editor.review(task, best, number)
            revised = await editor.revise(task, best.page, number, feedback)
        except PromptTooLong:  # The page fills the model's context: it is kept for the remaining rounds.
            revised = replace(best, round=number, feedback=(), kept=False)
        best = revised if revised.valid else editor.refuse(revised, best)
        yield best


def review_request(task: Task, page: Page, settings: EpisodeSettings, *, seed: int) -> Request:
    """Request for the policy's review of a page; `parse_feedback` parses the answer."""
    return Request(
        messages=prompts.review(task, page),
        max_tokens=settings.review_tokens,
        temperature=settings.temperature,
        seed=seed,
        stop=prompts.REVIEW_STOP,
    )


class _Editor:
    """Generates drafts and reviews, and counts their tokens and time."""

    def __init__(self, *, policy: Policy, renderer: Renderer, settings: EpisodeSettings, seed: int) -> None:
        self.policy, self.renderer = policy, renderer
        self.settings, self.seed = settings, seed
        self.tokens = 0
        self.started = time.monotonic()

    async def write(self, request: Request) -> str:
        (completion,) = await self.policy.complete(request)
        self.tokens += len(completion.token_ids)
        return completion.text

    async def draft(
        self, messages: tuple[Message, ...], number: int, feedback: tuple[str, ...] = (), base: str | None = None
    ) -> Draft:
        request = Request(
            messages=messages,
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            seed=seed_of(self.seed, "page", number),
            stop=prompts.PAGE_STOP,
        )
        page = parse_answer(await self.write(request), base)
        render = await self.renderer.render(page) if page.html is not None else None
        return Draft(
            round=number,
            page=page,
            render=render,
            feedback=feedback,
            tokens=self.tokens,
            seconds=time.monotonic() - self.started,
        )

    async def change(self, task: Task, change: Change) -> Draft:
        return replace(await self.revise(task, change.page, 0, (change.brief,)), feedback=())

    async def revise(self, task: Task, page: Page, number: int, feedback: tuple[str, ...]) -> Draft:
        base = page.html if self.settings.revision == "edits" else None
        messages = prompts.revise(task, page, feedback, as_edits=base is not None)
        return await self.draft(messages, number, feedback, base)

    async def review(self, task: Task, draft: Draft, number: int) -> tuple[str, ...]:
        request = review_request(task, draft.page, self.settings, seed=seed_of(self.seed, "review", number))
        return parse_feedback(await self.write(request))

    def refuse(self, revised: Draft, best: Draft) -> Draft:
        return Draft(
            round=revised.round,
            page=best.page,
            render=best.render,
            feedback=revised.feedback,
            kept=False,
            tokens=revised.tokens,
            seconds=revised.seconds,
        )
