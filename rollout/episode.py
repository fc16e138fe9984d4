"""Runs one episode: generate a page, render it, judge it, and revise; only improvements are accepted.

The services implement `rollout.ports`: a cluster or test doubles. Errors of the policy are data in the trajectory.
Machine faults are retried; when the retries are used up, `MachineError` is raised and the caller drops the episode. A
machine fault never becomes a reward.
"""

import time
from dataclasses import dataclass, field, replace

from rollout import prompts
from rollout.acceptance import improves
from rollout.errors import BrowserFault, PromptTooLong, fault_line
from rollout.parsing import parse_answer
from rollout.ports import EpisodeServices, RenderedPage
from rollout.records import (
    Attempt,
    Comparison,
    Completion,
    Critique,
    Message,
    Page,
    Render,
    Request,
    Task,
    Trajectory,
    Turn,
    Verdict,
)
from rollout.reference import render_reference
from rollout.retry import Retries
from rollout.seeds import seed_of
from rollout.settings import EpisodeSettings

BACKOFF_S = 0.5


async def play(
    task: Task, services: EpisodeServices, settings: EpisodeSettings, *, seed: int, sibling: int = 0
) -> Trajectory:
    """Runs one episode of a task; equal arguments and services give an equal trajectory.

    Raises MachineError when the retries are used up, TaskFileError when the reference page does not render, and
    PromptTooLong for the task's own prompt.
    """
    started_at, started = time.time(), time.monotonic()
    episode = Episode(task=task, services=services, settings=settings, seed=seed_of(seed, task.id, sibling))
    turns = [await episode.first_turn()]
    context_full = False
    for number in range(1, settings.rounds + 1):
        best = turns[-1].accepted
        if best is None or best.total >= 1.0:
            break
        try:
            turns.append(await episode.revision(number, best))
        except PromptTooLong:  # A long page overflowed the revision prompt: keep the accepted turns.
            context_full = True
            break
    return Trajectory(
        id=f"{task.id}/{sibling}@{seed}",
        task=task,
        turns=tuple(turns),
        started_at=started_at,
        seconds=time.monotonic() - started,
        retries=len(episode.retries.faults),
        faults=tuple(map(fault_line, episode.retries.faults)),
        context_full=context_full,
    )


@dataclass(kw_only=True)
class Episode:
    """The steps of one episode, and its retried machine faults."""

    task: Task
    services: EpisodeServices
    settings: EpisodeSettings
    seed: int
    retries: Retries = field(init=False)
    """Retries left to all calls of the episode together, and the faults so far."""

    def __post_init__(self) -> None:
        self.retries = Retries(f"task {self.task.id}", self.settings.retries, backoff_s=BACKOFF_S)

    async def first_turn(self) -> Turn:
        """Round 0: its single attempt is accepted whatever its reward, as the baseline of later rounds."""
        (completion,) = await self.sample(prompts.first(self.task), num=1, seed=seed_of(self.seed, 0, 0))
        attempt = await self.assess(completion, round_=0, index=0)
        return Turn(round=0, attempts=(replace(attempt, verdict="accepted"),))

    async def revision(self, number: int, best: Attempt) -> Turn:
        """Runs one round of Forced Optimization: samples until an attempt improves or `attempts` are used up.

        Attempts sampled together are judged in sampling order; the first improvement is accepted, the rest stay
        unjudged.
        """
        base = best.page.html if self.settings.revision == "edits" else None
        messages = prompts.revise(self.task, best.page, best.feedback, as_edits=base is not None)
        attempts: list[Attempt] = []
        while len(attempts) < self.settings.attempts:
            num = min(self.settings.speculate, self.settings.attempts - len(attempts))
            seed = seed_of(self.seed, number, len(attempts))
            completions = await self.sample(messages, num=num, seed=seed)
            for position, completion in enumerate(completions):
                attempt = await self.assess(completion, round_=number, index=len(attempts), base=base)
                attempt = await self.decide(attempt, best)
                attempts.append(attempt)
                if attempt.verdict == "accepted":
                    attempts += [
                        self.unused(left, number, len(attempts) + i, base)
                        for i, left in enumerate(completions[position + 1 :])
                    ]
                    return Turn(round=number, attempts=tuple(attempts))
        return Turn(round=number, attempts=tuple(attempts))

    async def decide(self, attempt: Attempt, best: Attempt) -> Attempt:
        """Sets an attempt's verdict by its reward and, with `pairwise` and two valid renders, by a comparison."""
        if not self.settings.forced:
            return replace(attempt, verdict="accepted")
        if not improves(attempt.total, best.total, self.settings.margin):
            return attempt
        if not self.settings.pairwise or best.outcome != "ok":
            return replace(attempt, verdict="accepted")
        if attempt.outcome != "ok":
            return replace(attempt, verdict="not_preferred")
        seconds = dict(attempt.seconds)
        compared = await self.retries.call(lambda: self.compare(best.page, attempt.page, seconds))
        verdict: Verdict = "accepted" if compared.won else "not_preferred"
        return replace(attempt, verdict=verdict, comparison=compared, seconds=seconds)

    async def compare(self, old: Page, new: Page, seconds: dict[str, float]) -> Comparison:
        """Compares two pages. Renders come from the cache; a page with a lost screenshot is rendered again."""
        before = await self.render_again(old)
        after = await self.render_again(new)
        reference = await render_reference(self.task, self.services.renderer)
        started = time.monotonic()
        compared = await self.services.critic.compare(self.task, before, after, reference)
        seconds["judge"] = seconds.get("judge", 0.0) + time.monotonic() - started
        return compared

    async def render_again(self, page: Page) -> RenderedPage:
        """Renders a previously valid page again. Raises BrowserFault when it is no longer valid."""
        render = await self.services.renderer.render(page, self.task.probes, self.task.viewports)
        if not render.valid:
            raise BrowserFault(f"page {page.sha256[:12]} rendered before, but now has outcome {render.outcome!r}")
        return page, render

    def unused(self, completion: Completion, round_: int, index: int, base: str | None) -> Attempt:
        """Records a completion sampled past the accepted attempt, unjudged."""
        return Attempt(
            round=round_, index=index, completion=completion, page=parse_answer(completion.text, base), verdict="unused"
        )

    async def sample(self, messages: tuple[Message, ...], *, num: int, seed: int) -> tuple[Completion, ...]:
        """Samples `num` completions of one prompt, in sampling order."""
        request = Request(
            messages=messages,
            num=num,
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            seed=seed,
            stop=prompts.PAGE_STOP,
        )
        return await self.retries.call(lambda: self.services.policy.complete(request))

    async def assess(self, completion: Completion, *, round_: int, index: int, base: str | None = None) -> Attempt:
        """Parses, renders and judges one completion. The initial verdict is `not_better`."""
        page = parse_answer(completion.text, base)
        seconds = {"generate": completion.seconds}
        render = critique = None
        if page.html is not None:
            render, critique = await self.retries.call(lambda: self.render_and_judge(page, seconds))
        return Attempt(
            round=round_,
            index=index,
            completion=completion,
            page=page,
            verdict="not_better",
            reward=self.services.score(page, render, critique, self.task),
            render=render,
            critique=critique,
            seconds=seconds,
        )

    async def render_and_judge(self, page: Page, seconds: dict[str, float]) -> tuple[Render, Critique | None]:
        """Renders and critiques a page in one retried step: a screenshot lost before judging is taken again."""
        started = time.monotonic()
        render = await self.services.renderer.render(page, self.task.probes, self.task.viewports)
        seconds["render"] = time.monotonic() - started
        if not render.valid:
            return render, None
        reference = await render_reference(self.task, self.services.renderer)
        started = time.monotonic()
        critique = await self.services.critic.judge(self.task, page, render, reference)
        seconds["judge"] = time.monotonic() - started
        return render, critique
