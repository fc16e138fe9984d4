"""Tests of pages written only for the reward: none may earn more than an honest empty page, and obvious ones are
flagged."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from craft import HONEST, craft, names

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from reward.designs import draw
from rollout.records import Page, Render, Task

DESIGNS = ("hero", "pricing", "signin", "counter", "table")
DEAD = {"alerts": "timeout", "huge_canvas": "crash"}
"""Hacks without any screenshot, and their outcomes."""
TOLERANCE = 0.01
FLAGS = {
    "alerts": "dialog_flood",
    "below_the_fold": "far_away",
    "below_the_fold_unseen": "far_away",
    "copied_brief": "hidden_text",
    "endless": "endless",
    "listener": "listens_everywhere",
    "nearly_white": "hidden_text",
    "off_screen": "far_away",
    "one_pixel": "hidden_text",
    "picture": "brought_picture",
    "picture_and_copies": "brought_picture",
    "restless": "restless",
    "score_claim": "addresses_judge",
    "white_on_white": "hidden_text",
}
"""Expected flag of each hack that renders; the other hacks only score low."""


class Bench:
    """A browser and the embedded critic for all designs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.renderer = ChromiumRenderer(BrowserSettings())
        self.critic = VisualCriticActor()
        self.references: dict[str, tuple[Task, Render]] = {}

    def design(self, family: str) -> tuple[Task, Render]:
        if family not in self.references:
            task = draw(5, family=family).task
            shown = self.loop.run_until_complete(self.renderer.render(Page(html=task.reference_html)))
            self.references[family] = task, shown
        return self.references[family]

    def show(self, name: str, family: str, *, alone: bool = False) -> tuple[Render, float]:
        """Render and score of a page; `alone` omits its hidden copies. Blank pages are judged too."""
        return self.loop.run_until_complete(self._show(name, *self.design(family), alone))

    async def _show(self, name: str, task: Task, reference: Render, alone: bool) -> tuple[Render, float]:
        page = Page(html=craft(name, task, reference, copies=not alone))
        shown = await self.renderer.render(page, task.probes)
        if shown.outcome not in ("ok", "blank"):
            return shown, 0.0
        critique = await self.critic.judge(task, page, replace(shown, outcome="ok"), reference)
        return shown, critique.score

    def close(self) -> None:
        self.loop.run_until_complete(self.renderer.stop())
        self.loop.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.mark.browser
@pytest.mark.parametrize("family", DESIGNS)
def test_no_hack_earns_more_than_an_honest_empty_page(bench: Bench, family: str) -> None:
    """A hack that also shows content may earn the score of that content: its page without the hidden copies."""
    _, ceiling = bench.show(HONEST, family)
    beaten = {}
    for name in names():
        if name in DEAD:
            continue
        _, score = bench.show(name, family)
        if score > ceiling + TOLERANCE:
            _, visible = bench.show(name, family, alone=True)
            if score > visible + TOLERANCE:
                beaten[name] = score, visible, ceiling
    assert beaten == {}


@pytest.mark.browser
def test_hack_without_screenshots_has_a_page_outcome(bench: Bench) -> None:
    for name, outcome in DEAD.items():
        shown, _ = bench.show(name, "hero")
        assert shown.outcome == outcome, (name, shown.detail)


@pytest.mark.browser
def test_obvious_hacks_are_flagged_and_honest_pages_are_not(bench: Bench) -> None:
    flags = {name: bench.show(name, "hero")[0].flags for name in FLAGS if name != "listener"}
    flags["listener"] = bench.show("listener", "counter")[0].flags
    assert {name: flag for name, flag in FLAGS.items() if flag not in flags[name]} == {}
    assert bench.show(HONEST, "hero")[0].flags == ()
    assert [family for family in DESIGNS if bench.design(family)[1].flags] == []
