"""Operations of the server on the ports of an episode: complete, write, render, judge, compare."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from cluster.serving.refusal import Refusal, invalid
from cluster.serving.retried import RetriedCritic, RetriedPolicy, RetriedRenderer, StreamingPolicy
from cluster.serving.writing import Event, written
from reward.score import score
from reward.settings import ScoreSettings
from rollout.errors import BudgetSpent, MachineError
from rollout.ports import Critic, Renderer
from rollout.records import Comparison, Critique, Page, Preference, Render, Reward, Task
from rollout.selfedit import Change
from rollout.settings import EpisodeSettings
from rollout.together import gather_or_cancel

logger = logging.getLogger(__name__)
Health = Callable[[], Mapping[str, int]]
"""Returns the number of healthy actors of each pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A page's render, judgment and reward."""

    render: Render
    critique: Critique | None
    """None for a page that does not render validly."""
    reward: Reward


class Service:
    """The operations; every call of a port is repeated once after a machine fault.

    Methods raise MachineError when the second call fails too, and Refusal for requests that cannot be answered.
    """

    def __init__(
        self,
        *,
        name: str,
        policy: StreamingPolicy,
        renderer: Renderer,
        critic: Critic | None,
        episode: EpisodeSettings,
        scoring: ScoreSettings,
        needs_reference: bool,
        libraries: tuple[str, ...] = (),
        health: Health = dict,
    ) -> None:
        """`name` is the model's name; `needs_reference` is set for critics that compare with a reference page."""
        self.name = name
        self.policy = RetriedPolicy(policy)
        self.renderer = RetriedRenderer(renderer)
        self.critic = RetriedCritic(critic) if critic is not None else None
        self.episode = episode
        self.score = partial(score, settings=scoring)
        self.needs_reference = needs_reference
        self.libraries = libraries
        self.health = health

    def write(self, brief: str, *, rounds: int, seed: int, change: Change | None = None) -> AsyncIterator[Event]:
        """Yields the texts and drafts of a page for a brief; with `change`, the page is revised for a second brief."""
        if change is not None:
            brief = f"{brief}\n{change.brief}"
        task = Task(id="brief", brief=brief, libraries=self.libraries)
        return written(task, self.policy, self.renderer, self.episode, rounds=rounds, seed=seed, change=change)

    @property
    def scores_drafts(self) -> bool:
        """Whether a critic can score a page that has no reference."""
        return self.critic is not None and not self.needs_reference

    async def judge(self, task: Task, page: Page) -> Judged:
        """Renders and judges a page; one that does not render validly gets no critique, and the reward of the zero
        rule."""
        critic, reference = self._critic(task), None
        if task.reference_html is not None:
            render, reference = await gather_or_cancel(self._render(task, page), self._reference(task))
        else:
            render = await self._render(task, page)
        critique = await critic.judge(task, page, render, reference) if render.valid else None
        return Judged(render=render, critique=critique, reward=self.score(page, render, critique, task))

    async def compare(self, task: Task, old: Page, new: Page) -> Comparison:
        """Compares two pages; one that renders validly is better than one that does not."""
        critic, reference = self._critic(task), None
        first, second = await gather_or_cancel(self._render(task, old), self._render(task, new))
        if first.valid and second.valid:
            if task.reference_html is not None:
                reference = await self._reference(task)
            return await critic.compare(task, (old, first), (new, second), reference)
        better: Preference = "tie" if first.valid == second.valid else "new" if second.valid else "old"
        return Comparison(answers=(better, better), judge="renderer")

    async def score_draft(self, task: Task, page: Page, render: Render | None) -> Critique | None:
        """Judgment of a draft; None if it does not render validly, no critic can judge it without reference, or the
        critic fails: the page is worth more than its score."""
        if self.critic is None or self.needs_reference or render is None or not render.valid:
            return None
        try:
            return await self.critic.judge(task, page, render, None)
        except (MachineError, BudgetSpent) as fault:
            logger.warning("a draft has no score: %s", fault)
            return None

    async def render(self, task: Task, page: Page) -> Render:
        """Renders a page and runs the probes of the task."""
        return await self._render(task, page)

    async def _render(self, task: Task, page: Page) -> Render:
        return await self.renderer.render(page, task.probes, task.viewports)

    async def _reference(self, task: Task) -> Render:
        render = await self.renderer.render(Page(html=task.reference_html), (), task.viewports)
        if not render.valid:
            raise invalid(f"reference_html does not render: {render.outcome} {render.detail}".rstrip())
        return render

    def _critic(self, task: Task) -> RetriedCritic:
        if self.critic is None:
            raise Refusal(501, "this server has no critic", kind="invalid_request_error")
        if self.needs_reference and task.reference_html is None:
            raise invalid("`reference_html` is missing: the critic of this server compares with a reference page")
        return self.critic
