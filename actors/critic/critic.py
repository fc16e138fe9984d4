"""Critic actors: fetch screenshots and judge them, embedded or with a multimodal model."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from actors.critic.judgment_cache import JudgmentCache
from actors.judge_api.chat import chat_body, data_address
from actors.judge_api.client import Find, JudgeClient
from actors.settings import CriticSettings
from reward.multimodal import pairs, rubric
from reward.multimodal.answer import Judgment, read
from reward.visual.critic import JUDGE, VisualCritic
from reward.visual.screens import same_screens, together
from rollout.errors import CriticFault
from rollout.ports import RenderedPage
from rollout.records import Comparison, Critique, Page, Preference, Render, Shot, Task
from rollout.together import gather_or_cancel

Fetch = Callable[[Any], bytes]
ASKED_WITH = (
    *("base_url", "model", "temperature", "judgments", "answer_format", "max_tokens", "omit", "extra_body"),
    *("max_pictures", "one_picture", "picture_format", "picture_quality", "picture_side", "picture_mb", "request_mb"),
)
"""Settings that change the question to a judge: part of the cache key."""


class VisualCriticActor:
    """The embedded critic. `fetch` converts `Shot.picture` to PNG bytes."""

    def __init__(self, fetch: Fetch = bytes) -> None:
        self.fetch = fetch
        self._critic = VisualCritic()

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`. Raises CriticFault when the task has no reference page that renders."""
        if reference is None or not reference.valid:
            got = "none" if reference is None else f"one with outcome {reference.outcome!r} ({reference.detail})"
            raise CriticFault(f"task {task.id}: the visual critic needs a reference page that renders, got {got}")
        return await asyncio.to_thread(self._judge, task, page, render, reference)

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """See `rollout.ports.Critic`: prefers the page closer to the reference, in any order."""
        before, after = await asyncio.gather(*(self.judge(task, *shown, reference) for shown in (old, new)))
        better: Preference = "tie" if after.score == before.score else "new" if after.score > before.score else "old"
        return Comparison(answers=(better, better), judge=JUDGE, seconds=before.seconds + after.seconds)

    async def ping(self) -> str:
        """Name of the judge."""
        return JUDGE

    def news(self) -> tuple[str, ...]:
        """Empty: the embedded critic reports no events."""
        return ()

    async def stop(self) -> None:
        """Does nothing: there are no connections."""

    def _judge(self, task: Task, page: Page, render: Render, reference: Render) -> Critique:
        started = time.monotonic()
        critiques = []
        for found, wanted in same_screens(render, reference):
            pictures = self._pictures(task, found), self._pictures(task, wanted)
            critiques.append((found.viewport, self._critic.judge(task, page, found, wanted, *pictures)))
        return replace(together(critiques), seconds=time.monotonic() - started)

    def _pictures(self, task: Task, render: Render) -> tuple[bytes, ...]:
        """The PNGs of the timed shots, which have no label."""
        timed = [shot for shot in render.shots if not shot.label]
        fetched = fetch_all(task, render, timed, self.fetch)
        return tuple(fetched[shot.sha256] for shot in timed)


class HttpCriticActor:
    """Judges pages with a multimodal model over HTTP. `cache` is a folder of judgments.

    Flagged pages are judged like others: what the judge sees decides, not our suspicion.
    """

    def __init__(
        self,
        settings: CriticSettings,
        fetch: Fetch = bytes,
        cache: Path | None = None,
        cost: Counter[str] | None = None,
        copies: int = 1,
        find: Find | None = None,
    ) -> None:
        """For `cost`, `copies` and `find`, see `actors.judge_api.client`."""
        self.settings, self.fetch = settings, fetch
        self.endpoint = JudgeClient(settings, cost, copies, find)
        self._cache = JudgmentCache(cache)
        self._asked: dict[str, asyncio.Task[Critique]] = {}

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """See `rollout.ports.Critic`; the reference is unused. Equal concurrent requests are sent once.

        Raises CriticFault when there is no judgment, never returning a score the judge did not give. Raises
        BudgetSpent.
        """
        if fresh:
            return await self._ask_about(task, page, render)
        question = rubric.messages(task, page, render, lambda shot: shot.sha256)
        key = self._key(rubric.VERSION, question)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._judge(key, task, page, render))
            asked.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(asked)

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """See `rollout.ports.Critic`; the reference is unused. Raises CriticFault or BudgetSpent."""
        started = time.monotonic()
        asked = await gather_or_cancel(self._prefer(task, old, new), self._prefer(task, new, old))
        (oldest_first, paid), (newest_first, paid_too) = asked
        self.endpoint.cost["comparisons"] += bool(paid or paid_too)
        return Comparison(
            answers=(pairs.preferred(oldest_first, "old", "new"), pairs.preferred(newest_first, "new", "old")),
            judge=self.settings.model,
            rubric=pairs.VERSION,
            temperature=self.settings.temperature,
            tokens=paid + paid_too,
            seconds=time.monotonic() - started,
        )

    async def ping(self) -> str:
        """The judge's name. Raises SettingsError for a missing or rejected key, CriticFault for no answer."""
        await self.endpoint.check()
        return self.settings.model

    def news(self) -> tuple[str, ...]:
        """Messages since the last call about outages, recoveries and refusals of the server."""
        news, self.endpoint.news = self.endpoint.news, []
        return tuple(news)

    async def stop(self) -> None:
        """Closes all connections."""
        await self.endpoint.close()

    async def _judge(self, key: str, task: Task, page: Page, render: Render) -> Critique:
        started = time.monotonic()
        known = await asyncio.to_thread(self._cache.find, key)
        if known is None:
            known = await self._ask_about(task, page, render)
            await asyncio.to_thread(self._cache.keep, key, known)
        return replace(known, seconds=time.monotonic() - started)

    async def _ask_about(self, task: Task, page: Page, render: Render) -> Critique:
        """Averages the configured number of judgments; one failure fails all."""
        started = time.monotonic()
        most = self.settings.max_pictures
        urls = await self._urls(task, render, rubric.shown(render, most))
        messages = rubric.messages(task, page, render, lambda shot: urls[shot.sha256], most)
        schema, num = rubric.schema(task), len(task.checklist)
        bodies = [chat_body(self.settings, messages, schema, seed) for seed in range(self.settings.judgments)]
        judged = await gather_or_cancel(*(self.endpoint.ask(body, lambda text: read(text, num)) for body in bodies))
        self.endpoint.cost["judgments"] += 1
        return replace(self._critique(judged), seconds=time.monotonic() - started)

    async def _prefer(self, task: Task, first: RenderedPage, second: RenderedPage) -> tuple[pairs.Better, int]:
        """The judge's preference between two pages in this order, and its tokens."""
        key = self._key(pairs.VERSION, pairs.messages(task, first, second, lambda shot: shot.sha256))
        known = await asyncio.to_thread(self._cache.find_better, key)
        if known is not None:
            return known, 0
        most = max(1, self.settings.max_pictures // 2)
        shots = [*rubric.shown(first[1], most), *rubric.shown(second[1], most)]
        urls = await self._urls(task, first[1], shots)
        messages = pairs.messages(task, first, second, lambda shot: urls[shot.sha256], most)
        better, tokens = await self.endpoint.ask(chat_body(self.settings, messages, pairs.SCHEMA, 0), pairs.read)
        await asyncio.to_thread(self._cache.keep_better, key, better)
        return better, tokens

    def _critique(self, judged: Sequence[tuple[Judgment, int]]) -> Critique:
        """Mean score, with the feedback of the judgment closest to it."""
        judgments = [judgment for judgment, _ in judged]
        score = fmean(judgment.score for judgment in judgments)
        nearest = min(judgments, key=lambda judgment: (not judgment.feedback, abs(judgment.score - score)))
        return Critique(
            score=score,
            feedback=nearest.feedback,
            parts={name: fmean(judgment.parts[name] for judgment in judgments) for name in nearest.parts},
            judge=self.settings.model,
            rubric=rubric.VERSION,
            temperature=self.settings.temperature,
            tokens=sum(tokens for _, tokens in judged),
            scores=tuple(judgment.score for judgment in judgments) if len(judgments) > 1 else (),
        )

    def _key(self, version: str, question: list[dict[str, Any]]) -> str:
        """Hash of all that an answer depends on; screenshots enter by their hashes."""
        settings = self.settings
        asked = [version, question, [getattr(settings, name) for name in ASKED_WITH]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    async def _urls(self, task: Task, render: Render, shots: Sequence[Shot]) -> dict[str, str]:
        """Data URIs of screenshots by content hash, in the settings' format and size."""
        return await asyncio.to_thread(self._encoded, task, render, shots)

    def _encoded(self, task: Task, render: Render, shots: Sequence[Shot]) -> dict[str, str]:
        found = fetch_all(task, render, shots, self.fetch)
        return {key: data_address(self.settings, png, len(shots)) for key, png in found.items()}

    def _forget(self, key: str, done: "asyncio.Task[Critique]") -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # retrieved, or asyncio would warn about a judgment no longer awaited


def fetch_all(task: Task, render: Render, shots: Sequence[Shot], fetch: Fetch) -> dict[str, bytes]:
    """PNGs of shots by content hash, each fetched once. Raises CriticFault for pictures not kept."""
    if any(shot.picture is None for shot in shots):
        raise CriticFault(f"task {task.id}: the screenshots of page {render.page_sha256[:12]} are not stored")
    fetched: dict[str, bytes] = {}
    for shot in shots:
        if shot.sha256 not in fetched:
            fetched[shot.sha256] = fetch(shot.picture)
    return fetched
