"""The route that the page in the browser uses: a page is written while one watches."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cluster.report.drafts import draft_card
from cluster.serving import sse
from cluster.serving.answers import parsed, streamed
from cluster.serving.chat import round_of
from cluster.serving.limits import Limits
from cluster.serving.refusal import invalid
from cluster.serving.service import Service
from reward.validity import complaint
from rollout.records import Critique, Page, Task
from rollout.selfedit import Change, Draft


class ChangeRequest(BaseModel):
    """A page, and the second brief for it."""

    model_config = ConfigDict(extra="forbid")
    html: str
    brief: str = Field(min_length=1)


class WriteRequest(BaseModel):
    """A request to write a page for a brief, or to change a page for a second one."""

    model_config = ConfigDict(extra="forbid")
    brief: str = Field(min_length=1)
    rounds: int = Field(default=3, ge=0)
    seed: int | None = None
    change: ChangeRequest | None = None


class PageWriter:
    """Answers requests with a stream of the events `text`, `draft`, `done` and `error`."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self.service, self.limits = service, limits

    async def answer(self, body: Any) -> Response:
        """The response to a request's body. Raises Refusal."""
        asked = parsed(WriteRequest, body)
        self._check(asked)
        return await streamed(self._events(asked), self.limits.timeout_s)

    def _check(self, asked: WriteRequest) -> None:
        briefs = [asked.brief, *([asked.change.brief] if asked.change else [])]
        if max(map(len, briefs)) > self.limits.brief_chars:
            raise invalid(f"a brief has more than {self.limits.brief_chars:,} characters")
        if asked.change and len(asked.change.html) > self.limits.html_chars:
            raise invalid(f"`change.html` has more than {self.limits.html_chars:,} characters", 413)
        if asked.rounds > self.limits.max_rounds:
            raise invalid(f"`rounds` is {asked.rounds}, wanted {self.limits.max_rounds} at most")

    async def _events(self, asked: WriteRequest) -> AsyncIterator[bytes]:
        change = Change(page=Page(html=asked.change.html), brief=asked.change.brief) if asked.change else None
        seed = asked.seed if asked.seed is not None else secrets.randbelow(2**31)
        task = Task(id="brief", brief=asked.brief if change is None else f"{asked.brief}\n{change.brief}")
        before = change.page if change is not None else None
        async for one in self.service.write(asked.brief, rounds=asked.rounds, seed=seed, change=change):
            if isinstance(one, Draft):
                critique = await self.service.score_draft(task, one.page, one.render) if one.kept else None
                yield sse.event(draft_data(one, before, critique), "draft")
                before = one.page
            else:
                yield sse.event({"kind": one.kind, "text": one.text, "restart": one.restart}, "text")
        yield sse.event({}, "done")


def draft_data(draft: Draft, before: Page | None, critique: Critique | None) -> dict[str, Any]:
    """Data of the event `draft`: the round, the page's source, and its card as HTML."""
    return round_of(draft) | {
        "html": draft.page.html,
        "complaint": "" if draft.valid else complaint(draft.page, draft.render),
        "score": critique.score if critique is not None else None,
        "card": draft_card(draft, before, critique).encode("utf-8", "replace").decode(),
    }
