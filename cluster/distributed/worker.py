"""An episode worker: plays many episodes at once, away from the driver.

Machine faults that outlast their retries end here: the episode leaves its group and is counted.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cluster.storage.store import Store, without_pixels
from rollout.episode import play
from rollout.errors import BrowserFault, MachineError, PictureLost, PromptTooLong, fault_line
from rollout.parsing import parse_feedback
from rollout.ports import EpisodeServices
from rollout.records import Critique, Group, Page, Probe, Render, Reward, Task, Trajectory, Viewport
from rollout.reference import render_reference
from rollout.seeds import seed_of
from rollout.selfedit import Draft, review_request, self_edit
from rollout.settings import EpisodeSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEditResult:
    """What self-editing made of one task: one entry a round, the base decode first."""

    task_id: str
    rewards: tuple[float, ...]
    valid: tuple[bool, ...]
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]


class EpisodeWorker:
    """Plays episodes with a cast; keeps the pictures of those that people will look at."""

    def __init__(
        self,
        cast: EpisodeServices,
        settings: EpisodeSettings,
        store: Store,
        fetch: Callable[[Any], bytes] = lambda png: png,
    ) -> None:
        self.cast, self.settings, self.store, self.fetch = cast, settings, store, fetch

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """`num` episodes of one task; those lost to machine faults are counted in `dropped`."""
        settings = self.settings if rounds is None else self.settings.model_copy(update={"rounds": rounds})
        played = await asyncio.gather(*(self._play(task, settings, seed, i) for i in range(num)))
        trajectories = [one for one in played if isinstance(one, Trajectory)]
        faults = tuple(one for one in played if isinstance(one, str))
        if keep:
            await asyncio.gather(*(self._keep(trajectory) for trajectory in trajectories))
        kept = tuple(map(without_pixels, trajectories))
        return Group(task=task, trajectories=kept, dropped=len(faults), faults=faults)

    async def edit(self, task: Task, *, rounds: int, seed: int) -> SelfEditResult:
        """Critic-free self-edit of one task; its drafts are judged afterwards, for the table alone."""
        drafts = await self_edit(
            task, self.cast.policy, self.cast.renderer, self.settings, rounds=rounds, seed=seed_of(seed, task.id, 0)
        )
        rewards = [await self._judge(task, draft) for draft in drafts]
        return SelfEditResult(
            task_id=task.id,
            rewards=tuple(reward.total for reward in rewards),
            valid=tuple(draft.valid for draft in drafts),
            tokens=tuple(draft.tokens for draft in drafts),
            seconds=tuple(draft.seconds for draft in drafts),
        )

    async def judge_anew(self, task: Task, page: Page) -> Critique:
        """What the critic says of a page now, whatever it said before. Raises MachineError, as for a page that does not
        render validly: whoever asks knows that it does."""
        render = await self.cast.renderer.render(page, task.probes, task.viewports)
        if not render.valid:
            raise BrowserFault(f"page {page.sha256[:12]} should render, but it is {render.outcome!r} ({render.detail})")
        return await self.cast.critic.judge(task, page, render, await self._reference(task), fresh=True)

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """What the policy says is wrong with a page; nothing of one that fills its context. Raises MachineError."""
        try:
            (written,) = await self.cast.policy.complete(review_request(task, page, self.settings, seed=seed))
        except PromptTooLong:
            return ()
        return parse_feedback(written.text)

    async def render(self, page: Page, probes: tuple[Probe, ...], viewports: tuple[Viewport, ...]) -> Render:
        """A page's render, for another worker that wants the same one. Raises BrowserFault."""
        return await self.cast.renderer.render(page, probes, viewports)

    async def ping(self) -> str:
        """Says that it is there."""
        return "worker"

    async def _play(self, task: Task, settings: EpisodeSettings, seed: int, sibling: int) -> Trajectory | str:
        """One episode, or the fault that dropped it in a line."""
        try:
            return await play(task, self.cast, settings, seed=seed, sibling=sibling)
        except MachineError as fault:
            logger.warning("dropped episode %d of task %s: %r", sibling, task.id, fault)
            return fault_line(fault)

    async def _judge(self, task: Task, draft: Draft) -> Reward:
        render = draft.render
        if render is None or not render.valid:
            return self.cast.score(draft.page, render, None, task)
        probed = await self.cast.renderer.render(draft.page, task.probes, task.viewports)
        if not probed.valid:
            return self.cast.score(draft.page, probed, None, task)
        critique = await self.cast.critic.judge(task, draft.page, probed, await self._reference(task))
        return self.cast.score(draft.page, probed, critique, task)

    async def _reference(self, task: Task) -> Render | None:
        return await render_reference(task, self.cast.renderer)

    async def _keep(self, trajectory: Trajectory) -> None:
        renders = [attempt.render for turn in trajectory.turns for attempt in turn.attempts if attempt.render]
        reference = await self._reference(trajectory.task)
        if reference is not None:
            renders.append(reference)
            await asyncio.to_thread(self.store.keep_reference, trajectory.task.reference_html or "", reference)
        await asyncio.to_thread(self._write, renders)

    def _write(self, renders: list[Render]) -> None:
        for render in renders:
            for shot in render.shots:
                try:
                    png = self.fetch(shot.picture)
                except PictureLost as fault:
                    logger.warning("the report goes without a picture of page %s: %s", render.page_sha256[:12], fault)
                else:
                    self.store.keep(replace(shot, picture=None), png)
