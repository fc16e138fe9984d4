"""Inference without the critic: the policy writes a page, criticises it itself, and revises.

Rendering is cheap, so a revision that does not render validly is refused; nobody else judges.
"""

import time
from dataclasses import dataclass, replace

from rollout import prompts
from rollout.errors import PromptTooLong
from rollout.parsing import parse_feedback, parse_page
from rollout.ports import Policy, Renderer
from rollout.records import Message, Page, Render, Request, Task
from rollout.seeds import seed_of
from rollout.settings import EpisodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A page as it stood after one round of self-editing."""

    round: int
    """0 is the base decode."""
    page: Page
    render: Render | None
    feedback: tuple[str, ...] = ()
    """What the policy said of the draft before this one."""
    kept: bool = True
    """False when the revision of this round was refused and the draft before it stands."""
    tokens: int
    """Tokens written so far, reviews included."""
    seconds: float
    """Time since the brief was given."""

    @property
    def valid(self) -> bool:
        """Whether the page renders validly."""
        return self.render is not None and self.render.valid


async def self_edit(
    task: Task, policy: Policy, renderer: Renderer, settings: EpisodeSettings, *, rounds: int, seed: int
) -> tuple[Draft, ...]:
    """The drafts of one task, one a round, the base decode first. Raises MachineError."""
    editor = _Editor(policy=policy, renderer=renderer, settings=settings, seed=seed_of(seed, task.id, "edit"))
    drafts = [await editor.draft(prompts.first(task), 0)]
    for number in range(1, rounds + 1):
        best = drafts[-1]
        try:
            feedback = await editor.review(task, best, number)
            revised = await editor.draft(prompts.revise(task, best.page, feedback), number, feedback)
        except PromptTooLong:  # The page fills the model's context: it stands in the rounds that are left.
            revised = replace(best, round=number, feedback=(), kept=False)
        drafts.append(revised if revised.valid else editor.refuse(revised, best))
    return tuple(drafts)


def review_request(task: Task, page: Page, settings: EpisodeSettings, *, seed: int) -> Request:
    """Asks the policy what is wrong with a page; `parse_feedback` reads its answer."""
    return Request(
        messages=prompts.review(task, page),
        max_tokens=settings.review_tokens,
        temperature=settings.temperature,
        seed=seed,
        stop=prompts.REVIEW_STOP,
    )


class _Editor:
    """Counts what self-editing costs while it does it."""

    def __init__(self, *, policy: Policy, renderer: Renderer, settings: EpisodeSettings, seed: int) -> None:
        self.policy, self.renderer, self.settings, self.seed = policy, renderer, settings, seed
        self.tokens = 0
        self.started = time.monotonic()

    async def write(self, request: Request) -> str:
        (completion,) = await self.policy.complete(request)
        self.tokens += len(completion.token_ids)
        return completion.text

    async def draft(self, messages: tuple[Message, ...], number: int, feedback: tuple[str, ...] = ()) -> Draft:
        request = Request(
            messages=messages,
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            seed=seed_of(self.seed, "page", number),
            stop=prompts.PAGE_STOP,
        )
        page = parse_page(await self.write(request))
        render = await self.renderer.render(page) if page.html is not None else None
        return Draft(
            round=number,
            page=page,
            render=render,
            feedback=feedback,
            tokens=self.tokens,
            seconds=time.monotonic() - self.started,
        )

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
