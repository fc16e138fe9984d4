"""Pairwise judges on the twelve briefs for which two models of GPT-5's family wrote a page each.

A pair of which a page draws nothing without its libraries, which are not available in the tests, is not compared.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from judge_server import JudgeServer

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import HttpCriticActor, VisualCriticActor
from actors.settings import BrowserSettings, CriticSettings
from rollout.ports import RenderedPage
from rollout.records import Page, Task
from rollout.tasks import read_tasks

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
SETTINGS = BrowserSettings(shots_ms=(1000,), full_page_height=0, viewport_width=512, viewport_height=384)
FILES = [Path(__file__).parents[3] / "tasks" / "gpt5" / name for name in ("train.parquet", "held-out.parquet")]


def written_pairs() -> list[tuple[Task, Task]]:
    by_brief: dict[str, list[Task]] = {}
    for task in (task for file in FILES for task in read_tasks(file)):
        by_brief.setdefault(task.brief, []).append(task)
    return [(pair[0], pair[1]) for pair in by_brief.values() if len(pair) == 2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rendered() -> AsyncIterator[list[tuple[Task, RenderedPage, RenderedPage]]]:
    renderer = ChromiumRenderer(SETTINGS)
    await renderer.start()
    try:
        pairs = []
        for one, other in written_pairs():
            pages = [Page(html=task.reference_html or "") for task in (one, other)]
            first, second = [(page, await renderer.render(page, (), one.viewports)) for page in pages]
            if first[1].valid and second[1].valid:
                pairs.append((one, first, second))
        yield pairs
    finally:
        await renderer.stop()


async def test_embedded_critic_prefers_the_page_of_the_reference(rendered: Any) -> None:
    assert len(written_pairs()) == 12
    assert len(rendered) >= 8
    critic = VisualCriticActor()
    for task, first, second in rendered:
        for reference, other in ((first, second), (second, first)):
            compared = [
                await critic.compare(task, other, reference, reference[1]),
                await critic.compare(task, reference, other, reference[1]),
            ]
            assert [one.answers for one in compared] == [("new", "new"), ("old", "old")], task.id


@pytest.mark.parametrize("judge", ["one that sees the pictures", "one that prefers the first page"])
async def test_multimodal_judge_is_asked_in_both_orders(rendered: Any, judge: str, tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> str:
        pictures = [part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url"]
        assert len(pictures) == 2, "both pages are pictured"
        better = "A" if judge.endswith("first page") or pictures[0] > pictures[1] else "B"
        return "say " + json.dumps({"observations": "", "better": better})

    async with JudgeServer(behave) as server:
        settings = CriticSettings(kind="http", base_url=server.url, model="judge-1")
        critic = HttpCriticActor(settings, cache=tmp_path)
        compared = [await critic.compare(task, first, second, None) for task, first, second in rendered]
        await critic.stop()
    agreed = [one.answers[0] == one.answers[1] for one in compared]
    if judge.endswith("first page"):
        assert not any(agreed), "a judge that looks at the order alone prefers neither page"
        assert not any(one.won for one in compared)
    else:
        assert all(agreed)
