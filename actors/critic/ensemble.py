"""Critic ensemble: all critics of a run in one actor, combined by a weighted mean."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from actors.critic.critic import Fetch, HttpCriticActor, VisualCriticActor
from actors.judge_api.client import Find
from actors.judge_api.usage import UsageLedger
from actors.settings import CriticsSettings
from reward.mixture import JOINED, mean_of, vote_of
from rollout.ports import RenderedPage
from rollout.records import Comparison, Critique, Page, Render, Task
from rollout.together import Answer, gather_or_cancel

Member = VisualCriticActor | HttpCriticActor


class CriticActor:
    """Runs every critic of the settings; a single critic's judgment is returned unchanged."""

    def __init__(
        self,
        settings: CriticsSettings,
        fetch: Fetch = bytes,
        cache: Path | None = None,
        ledger: Path | None = None,
        find: Find | None = None,
    ) -> None:
        """`cache` is the folder of judgments, `ledger` the usage file.

        `find` returns the address of the run's own judge, for critics without one.
        """
        self.ledger = UsageLedger(ledger)
        self.weights = {name: judge.weight for name, judge in settings.members.items()}
        self.members: dict[str, Member] = {
            name: VisualCriticActor(fetch)
            if judge.kind == "visual"
            else HttpCriticActor(
                judge, fetch, cache, self.ledger.account(name), settings.count, None if judge.base_url else find
            )
            for name, judge in settings.members.items()
        }

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`. Raises what any critic raises: there is no judgment by only some critics."""
        started = time.monotonic()
        try:
            asked = (one.judge(task, page, render, reference, fresh=fresh) for one in self.members.values())
            judged = self._named(await gather_or_cancel(*asked))
        finally:
            await asyncio.to_thread(self.ledger.save)
        if len(judged) == 1:
            return next(iter(judged.values()))
        return replace(mean_of(judged, self.weights), seconds=time.monotonic() - started)

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """See `rollout.ports.Critic`. Raises what any critic raises."""
        started = time.monotonic()
        try:
            asked = (one.compare(task, old, new, reference) for one in self.members.values())
            compared = self._named(await gather_or_cancel(*asked))
        finally:
            await asyncio.to_thread(self.ledger.save)
        if len(compared) == 1:
            return next(iter(compared.values()))
        return replace(vote_of(compared, self.weights), seconds=time.monotonic() - started)

    async def ping(self) -> str:
        """Names of all judges, joined. Raises what a critic raises that cannot judge."""
        return JOINED.join([await one.ping() for one in self.members.values()])

    def news(self) -> tuple[str, ...]:
        """Messages of all critics since the last call about outages, recoveries and refusals."""
        return tuple(words for one in self.members.values() for words in one.news())

    async def stop(self) -> None:
        """Closes all connections and saves the usage of abandoned requests."""
        for one in self.members.values():
            await one.stop()
        await asyncio.to_thread(self.ledger.save)

    def _named(self, answers: list[Answer]) -> dict[str, Answer]:
        return dict(zip(self.members, answers, strict=True))
