"""Tests of the reward: bounded, monotone, and zero for every page without a valid render."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reward.score import score
from reward.settings import ScoreSettings
from rollout.records import Critique, Outcome, Page, Probe, ProbeResult, Render, Reward, Task

PLAIN = Task(id="plain", brief="Build it.")
units = st.floats(0, 1)
pages = st.builds(Page, html=st.just("<p>page</p>"), format_ok=st.booleans())
bad = st.sampled_from([outcome for outcome in get_args(Outcome) if outcome != "ok"])


def probed(held: list[bool]) -> tuple[Task, tuple[ProbeResult, ...]]:
    probes = tuple(Probe(name=f"p{i}", steps=()) for i in range(len(held)))
    results = tuple(ProbeResult(name=f"p{i}", held=holds) for i, holds in enumerate(held))
    return Task(id="probed", brief="Build it.", probes=probes), results


def reward(page: Page, visual: float, held: list[bool], weights: ScoreSettings) -> Reward:
    task, results = probed(held)
    render = Render(page_sha256=page.sha256, outcome="ok", probes=results)
    return score(page, render, Critique(score=visual, feedback=(), judge="j"), task, weights)


@st.composite
def weightings(draw: st.DrawFn) -> ScoreSettings:
    visual = draw(st.floats(0.01, 1))
    interaction = draw(st.floats(0, 1)) * (1 - visual)
    return ScoreSettings(visual=visual, interaction=interaction, format=max(0.0, 1 - visual - interaction))


@given(pages, units, st.lists(st.booleans(), max_size=4), weightings())
def test_reward_is_the_weighted_mean_of_the_applicable_parts(
    page: Page, visual: float, held: list[bool], weights: ScoreSettings
) -> None:
    got = reward(page, visual, held, weights)
    parts = [(weights.visual, visual), (weights.format, float(page.format_ok))]
    if held:
        parts.append((weights.interaction, sum(held) / len(held)))
    wanted = sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)
    assert got.total == pytest.approx(wanted)
    assert 0.0 <= got.total <= 1.0
    assert got.gate == 1
    assert got.complaint == ""
    assert (got.interaction is None) == (not held)


@given(pages, units, units, st.lists(st.booleans(), max_size=4), weightings())
def test_reward_never_falls_with_a_rising_visual_score(
    page: Page, one: float, other: float, held: list[bool], weights: ScoreSettings
) -> None:
    low, high = sorted((one, other))
    assert reward(page, low, held, weights).total <= reward(page, high, held, weights).total


@given(pages, weightings(), bad, st.text(max_size=30))
def test_zero_rule_has_no_exception(page: Page, weights: ScoreSettings, outcome: Outcome, detail: str) -> None:
    task, results = probed([True, True])
    render = Render(page_sha256=page.sha256, outcome=outcome, detail=detail, probes=results)
    perfect = Critique(score=1.0, feedback=(), judge="j")
    for critique in (None, perfect):
        got = score(page, render, critique, task, weights)
        assert (got.total, got.gate) == (0.0, 0)
        assert got.complaint.endswith(".")


@given(weightings(), st.booleans())
def test_answer_without_a_page_earns_zero_with_or_without_the_zero_rule(
    weights: ScoreSettings, zero_rule: bool
) -> None:
    settings = weights.model_copy(update={"zero_rule": zero_rule})
    got = score(Page(html=None, problem="no_fence", format_ok=False), None, None, PLAIN, settings)
    assert (got.total, got.gate) == (0.0, 0)
    assert "no ```html block" in got.complaint


def test_broken_page_earns_the_format_part_without_the_zero_rule() -> None:
    settings = ScoreSettings(zero_rule=False)
    page = Page(html="<p>page</p>")
    got = score(page, Render(page_sha256=page.sha256, outcome="exception", detail="boom"), None, PLAIN, settings)
    assert got.total == settings.format
    assert got.gate == 0


def test_valid_render_without_a_critique_raises_an_error() -> None:
    page = Page(html="<p>page</p>")
    with pytest.raises(ValueError, match="needs a critique, got none"):
        score(page, Render(page_sha256=page.sha256, outcome="ok"), None, PLAIN, ScoreSettings())


def test_probes_without_a_result_count_as_failed() -> None:
    task, results = probed([True, True])
    page = Page(html="<p>page</p>")
    render = Render(page_sha256=page.sha256, outcome="ok", probes=results[:1])
    got = score(page, render, Critique(score=1.0, feedback=(), judge="j"), task, ScoreSettings())
    assert got.interaction == 0.5


def test_score_weights_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match=r"must be 1, got 1\.2"):
        ScoreSettings(visual=0.9)
    with pytest.raises(ValidationError, match="could earn nothing"):
        ScoreSettings(visual=0.0, interaction=1.0, format=0.0)


def test_inconclusive_probe_earns_what_a_failed_one_does() -> None:
    page, settings = Page(html="<p>page</p>"), ScoreSettings()
    critique = Critique(score=0.5, feedback=(), judge="j")
    task, _ = probed([True])
    totals: list[float] = []
    for result in (
        ProbeResult(name="p0", held=False),
        ProbeResult(name="p0", held=False, inconclusive=True),
        ProbeResult(name="p0", held=True),
    ):
        render = Render(page_sha256=page.sha256, outcome="ok", probes=(result,))
        totals.append(score(page, render, critique, task, settings).total)
    assert totals[0] == totals[1] < totals[2]
