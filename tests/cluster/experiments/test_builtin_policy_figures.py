"""Tests of the measurement of the built-in policy, with policies whose figures are known."""

import asyncio
from typing import Any

import pytest

from actors.browser.renderer import ChromiumRenderer
from actors.critic.ensemble import CriticActor
from cluster.experiments.builtin_policy import (
    DEFAULTS,
    VIEWPORT,
    Bench,
    first_page,
    revision,
    summarize_first,
    summarize_revisions,
)
from cluster.settings import check_settings
from reward.designs import Draw, draw
from rollout.edits import make
from rollout.parsing import parse_page
from rollout.prompts import answer, edit_answer
from rollout.records import Completion, Request

DESIGNS = [draw(seed, family=family, split="held_out") for seed, family in enumerate(("hero", "counter"))]


class KnowingPolicy:
    """Answers first pages with the reference page spoilt by `spoil`, revisions with the reference page."""

    def __init__(self, design: Draw, spoil: dict[str, str]) -> None:
        self.html = design.task.reference_html or ""
        self.spoil = spoil

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        told = request.messages
        if len(told) == 2:
            html = self.html
            for old, new in self.spoil.items():
                html = html.replace(old, new)
            text = answer(html)
        elif told[-1].content.startswith("<feedback>"):
            shown = parse_page(told[2].content).html or ""
            asks_for_edits = "SEARCH" in told[0].content
            text = edit_answer(make(shown, self.html)) if asks_for_edits else answer(self.html)
        else:
            text = "<feedback>\n- Something is wrong.\n</feedback>"
        return (Completion(prompt_ids=(1,), token_ids=(2,), logprobs=(0.0,), text=text, finish="stop", versions=()),)


async def _figures(spoil: dict[str, str]) -> dict[str, Any]:
    settings = check_settings(dict(DEFAULTS, browser=VIEWPORT), "settings")
    renderer, critic = ChromiumRenderer(settings.renderer), CriticActor(settings.critic)
    try:
        benches = [
            Bench(policy=KnowingPolicy(design, spoil), renderer=renderer, critic=critic, settings=settings)
            for design in DESIGNS
        ]
        pairs = list(zip(benches, DESIGNS, strict=True))
        first = await asyncio.gather(*(first_page(bench, design) for bench, design in pairs))
        edited = await asyncio.gather(*(revision(bench, design, "edits") for bench, design in pairs))
        whole = await asyncio.gather(*(revision(bench, design, "page") for bench, design in pairs))
    finally:
        await renderer.stop()
        await critic.stop()
    return {
        "first": summarize_first(first),
        "edits": summarize_revisions([row for row in edited if row]),
        "page": summarize_revisions([row for row in whole if row]),
    }


@pytest.mark.browser
async def test_policy_that_knows_the_answer_gets_full_marks() -> None:
    figures = await _figures({})
    first = figures["first"]
    assert (first["valid"], first["texts"], first["values"]) == (1.0, 1.0, 1.0)
    for form in ("edits", "page"):
        found = figures[form]
        assert (found["told_better"], found["reviewed_better"]) == (1.0, 1.0)
        assert found["told_gain"] == pytest.approx(1.0 - found["before"], abs=1e-3)


@pytest.mark.browser
async def test_wrong_texts_and_broken_pages_are_counted() -> None:
    title = DESIGNS[0].traits["title"]
    wrong = (await _figures({title: "Another Title"}))["first"]
    assert wrong["valid"] == 1.0
    assert wrong["pages_with_all_texts"] == 0.5
    assert wrong["pages_with_all_values"] == 1.0
    assert (await _figures({"</style>": ""}))["first"] == {"pages": 2, "valid": 0.0}
