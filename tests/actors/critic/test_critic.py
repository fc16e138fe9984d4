"""Tests of the visual critic actor: images by reference, faults, and a score of 1 for the reference page itself."""

import asyncio
import random
from dataclasses import replace

import pytest
from drawn_pages import OTHER, PAGE, SHOP, TASK, pictures, render

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from reward.designs import draw, vary
from rollout.errors import CriticFault
from rollout.records import Page, Render, Task


def by_reference(of: Render, shelf: dict[str, bytes]) -> Render:
    """The render with its images moved to `shelf`, as renders travel between processes."""
    shelf |= {shot.sha256: shot.picture for shot in of.shots}
    return replace(of, shots=tuple(replace(shot, picture=shot.sha256) for shot in of.shots))


async def test_critic_fetches_images_and_measures_its_time() -> None:
    shelf: dict[str, bytes] = {}
    fetched: list[str] = []

    def fetch(key: str) -> bytes:
        fetched.append(key)
        return shelf[key]

    mine, reference = by_reference(render(OTHER), shelf), by_reference(render(SHOP), shelf)
    critique = await VisualCriticActor(fetch).judge(TASK, PAGE, mine, reference)
    near = await VisualCriticActor().judge(TASK, PAGE, render(OTHER), render(SHOP))
    assert replace(critique, seconds=0.0) == replace(near, seconds=0.0)
    assert critique.seconds > 0
    assert sorted(fetched) == sorted(shelf)  # three equal shots are fetched once


async def test_probe_images_are_not_judged() -> None:
    mine = render(SHOP)
    after = replace(mine.shots[0], label="opens", picture=pictures(render(OTHER))[0])
    mine = replace(mine, shots=(*mine.shots, after))
    assert (await VisualCriticActor().judge(TASK, PAGE, mine, render(SHOP))).score == 1.0


async def test_concurrent_judgments_are_equal() -> None:
    critic = VisualCriticActor()
    judged = await asyncio.gather(*(critic.judge(TASK, PAGE, render(OTHER), render(SHOP)) for _ in range(8)))
    assert len({critique.score for critique in judged}) == 1
    assert await critic.ping() == "visual-4"


@pytest.mark.parametrize("reference", [None, replace(render(SHOP), outcome="timeout", detail="slow")])
async def test_task_without_a_valid_reference_render_is_a_critic_fault(reference: Render | None) -> None:
    with pytest.raises(CriticFault, match="task paper: .* needs a reference page that renders"):
        await VisualCriticActor().judge(TASK, PAGE, render(SHOP), reference)


async def test_missing_images_are_a_critic_fault() -> None:
    gone = render(SHOP)
    gone = replace(gone, shots=tuple(replace(shot, picture=None) for shot in gone.shots))
    with pytest.raises(CriticFault, match="are not stored"):
        await VisualCriticActor().judge(TASK, PAGE, gone, render(SHOP))


@pytest.mark.browser
async def test_score_falls_with_the_number_of_design_errors() -> None:
    renderer, critic = ChromiumRenderer(BrowserSettings()), VisualCriticActor()
    totals = dict.fromkeys((0, 1, 4), 0.0)
    try:
        for seed, family in enumerate(("hero", "pricing", "loader", "counter", "signin", "table")):
            design = draw(seed, family=family)
            task = Task(id=family, brief=design.task.brief)
            reference = await renderer.render(Page(html=design.task.reference_html))
            for wrong in totals:
                rng = random.Random(seed)
                page = Page(html=vary(design, rng, wrong)[0] if wrong else design.task.reference_html)
                shown = await renderer.render(page)
                if shown.valid:
                    critique = await critic.judge(task, page, shown, reference)
                    totals[wrong] += critique.score
                    assert (critique.score == 1.0) == (not wrong)
                    assert bool(critique.feedback) == bool(wrong)
    finally:
        await renderer.stop()
    assert totals[0] == 6.0
    assert totals[0] > totals[1] > totals[4]
