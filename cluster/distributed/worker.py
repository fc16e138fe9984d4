"""Episode worker: plays many episodes concurrently, in a process separate from the driver.

A machine fault that outlasts its retries drops the episode from its group, and is counted.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cluster.storage.store import Store, shots_as_hashes, without_pixels
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
    """Result of self-editing one task: one entry per round, the base decode first."""

    task_id: str
    rewards: tuple[float, ...]
    valid: tuple[bool, ...]
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    drafts: tuple[Draft, ...] = ()
    """The drafts, without the pixels of their screenshots, if they were stored."""


class EpisodeWorker:
    """Plays episodes with the given services, and stores the screenshots of episodes shown in the report."""

    def __init__(
        self,
        services: EpisodeServices,
        settings: EpisodeSettings,
        store: Store,
        fetch: Callable[[Any], bytes] = lambda png: png,
    ) -> None:
        self.services, self.settings = services, settings
        self.store, self.fetch = store, fetch

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """Plays `num` episodes of one task; those lost to machine faults are counted in `dropped`."""
        settings = self.settings if rounds is None else self.settings.model_copy(update={"rounds": rounds})
        played = await asyncio.gather(*(self._play(task, settings, seed, i) for i in range(num)))
        trajectories = [one for one in played if isinstance(one, Trajectory)]
        faults = tuple(one for one in played if isinstance(one, str))
        if keep:
            await asyncio.gather(*(self._keep(trajectory) for trajectory in trajectories))
        kept = tuple(map(without_pixels, trajectories))
        return Group(task=task, trajectories=kept, dropped=len(faults), faults=faults)

    async def edit(self, task: Task, *, rounds: int, seed: int, keep: bool = False) -> SelfEditResult:
        """Critic-free self-edit of one task; its drafts are scored afterwards, only for the result table.

        With `keep`, stores the drafts' screenshots and returns the drafts.
        """
        drafts = await self_edit(
            task,
            self.services.policy,
            self.services.renderer,
            self.settings,
            rounds=rounds,
            seed=seed_of(seed, task.id, 0),
        )
        rewards = [await self._judge(task, draft) for draft in drafts]
        if keep:
            await self._keep_shots(task, [draft.render for draft in drafts if draft.render])
        return SelfEditResult(
            task_id=task.id,
            rewards=tuple(reward.total for reward in rewards),
            valid=tuple(draft.valid for draft in drafts),
            tokens=tuple(draft.tokens for draft in drafts),
            seconds=tuple(draft.seconds for draft in drafts),
            drafts=tuple(replace(draft, render=shots_as_hashes(draft.render)) for draft in drafts) if keep else (),
        )

    async def judge_again(self, task: Task, page: Page) -> Critique:
        """Critiques a page again, bypassing the cache.

        Raises MachineError, also when the page does not render validly: callers pass pages that did.
        """
        render = await self.services.renderer.render(page, task.probes, task.viewports)
        if not render.valid:
            raise BrowserFault(f"page {page.sha256[:12]} should render, but it is {render.outcome!r} ({render.detail})")
        return await self.services.critic.judge(task, page, render, await self._reference(task), fresh=True)

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """The policy's own feedback on a page; empty when the page exceeds its context. Raises MachineError."""
        try:
            (written,) = await self.services.policy.complete(review_request(task, page, self.settings, seed=seed))
        except PromptTooLong:
            return ()
        return parse_feedback(written.text)

    async def render(self, page: Page, probes: tuple[Probe, ...], viewports: tuple[Viewport, ...]) -> Render:
        """Renders a page for another worker that requests the same one. Raises BrowserFault."""
        return await self.services.renderer.render(page, probes, viewports)

    async def ping(self) -> str:
        """Health check."""
        return "worker"

    async def _play(self, task: Task, settings: EpisodeSettings, seed: int, sibling: int) -> Trajectory | str:
        """Plays one episode; returns one line about the fault when it was dropped."""
        try:
            return await play(task, self.services, settings, seed=seed, sibling=sibling)
        except MachineError as fault:
            logger.warning("dropped episode %d of task %s: %r", sibling, task.id, fault)
            return fault_line(fault)

    async def _judge(self, task: Task, draft: Draft) -> Reward:
        render = draft.render
        if render is None or not render.valid:
            return self.services.score(draft.page, render, None, task)
        probed = await self.services.renderer.render(draft.page, task.probes, task.viewports)
        if not probed.valid:
            return self.services.score(draft.page, probed, None, task)
        critique = await self.services.critic.judge(task, draft.page, probed, await self._reference(task))
        return self.services.score(draft.page, probed, critique, task)

    async def _reference(self, task: Task) -> Render | None:
        return await render_reference(task, self.services.renderer)

    async def _keep(self, trajectory: Trajectory) -> None:
        renders = [attempt.render for turn in trajectory.turns for attempt in turn.attempts if attempt.render]
        await self._keep_shots(trajectory.task, renders)

    async def _keep_shots(self, task: Task, renders: list[Render]) -> None:
        reference = await self._reference(task)
        if reference is not None:
            renders = [*renders, reference]
            await asyncio.to_thread(self.store.keep_reference, task.reference_html or "", reference)
        await asyncio.to_thread(self._write, renders)

    def _write(self, renders: list[Render]) -> None:
        for render in renders:
            for shot in render.shots:
                try:
                    png = self.fetch(shot.picture)
                except PictureLost as fault:
                    logger.warning("the report has no screenshot of page %s: %s", render.page_sha256[:12], fault)
                else:
                    self.store.keep(replace(shot, picture=None), png)
