"""Tests that the embedded critic ranks pages by the number of errors, in a real browser."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from reward.designs import FAMILIES, draw
from reward.designs.drawing import ALL
from rollout.records import Page, Task

PAGES = sorted((Path(__file__).parent / "pages").glob("*.html"))
"""Hand-written pages: a shop, an article, a dashboard, forms, tables, dark and light."""
STEPS = (
    ":root{--accent:#8a6d00!important}",
    "h1{font-size:20px!important}",
    "body{padding-left:60px!important}",
    "footer{display:none!important}",
    ":root{--ground:#c8b8a0!important}",
    "body :is(button,p,li,td,.card,.mail,.work,.row):nth-child(2n){visibility:hidden!important}",
)
"""Cumulative errors: recoloured, resized, shifted, deleted, another canvas, half of it hidden."""
LEAST = 0.95

pytestmark = pytest.mark.browser


class Judge:
    """A browser and a critic."""

    def __init__(self) -> None:
        self.renderer = ChromiumRenderer(BrowserSettings())
        self.critic = VisualCriticActor()

    async def score(self, task: Task, html: str) -> float:
        """Score of a page for a task; 0 if its render is not valid."""
        reference = await self.renderer.render(Page(html=task.reference_html))
        page = Page(html=html)
        shown = await self.renderer.render(page)
        if not shown.valid:
            return 0.0
        return (await self.critic.judge(task, page, shown, reference)).score


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    judge = Judge()
    yield judge
    await judge.renderer.stop()


def falling(levels: list[int], scores: list[float]) -> float:
    """Spearman's rank correlation between error level and lost score."""
    return float(-spearmanr(levels, scores).statistic)


async def test_handwritten_pages_are_ranked_by_the_number_of_errors(judge: Judge) -> None:
    ranks = {}
    assert len(PAGES) >= 10
    for path in PAGES:
        html = path.read_text(encoding="utf-8")
        task = Task(id=path.stem, brief="", reference_html=html)
        ladder = [html.replace("</style>", "\n".join([*STEPS[:num], "</style>"])) for num in range(len(STEPS) + 1)]
        scores = [await judge.score(task, page) for page in ladder]
        assert await judge.score(task, html) == 1.0
        ranks[path.stem] = falling(list(range(len(ladder))), scores)
    assert min(ranks.values()) >= LEAST, ranks


async def test_empty_page_scores_zero(judge: Judge) -> None:
    task = Task(id="article", brief="", reference_html=PAGES[0].read_text(encoding="utf-8"))
    assert await judge.score(task, "<!doctype html><title>Article</title>") == 0.0


async def test_builtin_designs_are_ranked_by_the_number_of_wrong_traits(judge: Judge) -> None:
    ranks = {}
    for family in FAMILIES:
        ladder = spoil(family, 40)
        task = Task(id=family, brief="", reference_html=ladder[0])
        ranks[family] = falling(list(range(len(ladder))), [await judge.score(task, page) for page in ladder])
    assert min(ranks.values()) >= LEAST, ranks


def spoil(family: str, seed: int) -> list[str]:
    """A design's page, then pages with one more wrong trait each, up to six."""
    kind, rng = ALL[family], random.Random(f"{family}/{seed}")
    traits = dict(draw(seed, family=family).traits)
    ladder = [kind.page(traits)]
    seen = [slot for slot in kind.slots if slot not in kind.unseen]
    for slot in rng.sample(seen, k=min(6, len(seen))):
        traits[slot] = rng.choice([value for value in kind.slots[slot] if value != traits[slot]])
        ladder.append(kind.page(traits))
    return ladder


async def test_grey_canvas_does_not_raise_the_score(judge: Judge) -> None:
    """If the layout is off, a canvas colour between ground and ink is near to both; it must not earn more."""
    html = (PAGES[0].parent / "recipe.html").read_text(encoding="utf-8")
    task = Task(id="recipe", brief="", reference_html=html)
    off = html.replace("</style>", "h1{font-size:20px}body{padding-left:60px}</style>")
    grey = off.replace("--ground:#fff7ed", "--ground:#b0a8a0")
    assert grey != off
    assert await judge.score(task, grey) < await judge.score(task, off)
