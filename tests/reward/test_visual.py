"""Tests of the visual critic: 1 for equal pages, lower for differences, and correct feedback about them."""

from dataclasses import replace

import pytest
from drawn_pages import (
    GREY,
    NAVY,
    OTHER,
    PAGE,
    RED,
    SHOP,
    TASK,
    WHITE,
    Fill,
    Paper,
    Text,
    picture,
    pictures,
    render,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward.visual.critic import VisualCritic
from reward.visual.evidence import WEIGHTS
from rollout.records import Critique, ProbeResult

CRITIC = VisualCritic()


def judge(found: Paper, wanted: Paper = SHOP) -> Critique:
    mine, reference = render(found), render(wanted)
    return CRITIC.judge(TASK, PAGE, mine, reference, pictures(mine), pictures(reference))


@pytest.mark.parametrize("paper", [SHOP, OTHER, replace(SHOP, speed=30.0), Paper(fills=SHOP.fills), Paper()])
def test_page_equals_itself_exactly(paper: Paper) -> None:
    critique = judge(paper, paper)
    assert critique.score == 1.0
    assert set(critique.parts.values()) == {1.0}
    assert critique.feedback == ()


def test_empty_page_scores_almost_zero_and_another_page_little() -> None:
    assert judge(Paper()).score < 0.01
    assert judge(replace(Paper(), canvas=NAVY)).score < 0.05
    assert judge(OTHER).score < 0.2


def test_parts_are_named_and_bounded() -> None:
    critique = judge(OTHER)
    assert set(critique.parts) == {*WEIGHTS, "palette"}
    assert all(0.0 <= part <= 1.0 for part in critique.parts.values())
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    assert critique.judge == "visual-4"


LADDERS = {
    "shift": [SHOP.change(2, x=60 + by) for by in (0, 4, 12, 40, 120, 300)],
    "shift all": [replace(SHOP, texts=tuple(replace(t, y=t.y + by) for t in SHOP.texts)) for by in (0, 3, 9, 30, 90)],
    "recolour": [SHOP.change(0, color=color) for color in (NAVY, (20, 20, 140), (60, 60, 170), (120, 60, 90), RED)],
    "repaint": [SHOP.repaint(1, color=color) for color in (GREY, (190, 190, 190), (140, 140, 190), NAVY)],
    "canvas": [replace(SHOP, canvas=color) for color in (WHITE, (250, 250, 245), (245, 225, 200), (120, 160, 120))],
    "delete": [replace(SHOP, texts=SHOP.texts[: 5 - n]) for n in range(6)],
    "font": [SHOP.change(2, px=px) for px in (24, 26, 30, 38, 46)],
    "misspell": [SHOP.change(1, text=text) for text in (SHOP.texts[1].text, "Lamps for lnog quiet evenings.", "No")],
    "add": [replace(SHOP, texts=SHOP.texts + tuple(
        Text(text=f"Spam number {i}", x=300, y=420 + 26 * i) for i in range(n))) for n in range(5)],
    "box": [SHOP.repaint(1, width=width) for width in (240, 220, 180, 100, 20)],
    "height": [replace(SHOP, height=height) for height in (600, 700, 1000, 3000)],
    "motion": [replace(SHOP, speed=speed) for speed in (0, 5, 20, 80)],
}  # fmt: skip


@pytest.mark.parametrize("name", LADDERS)
def test_score_falls_as_an_error_grows(name: str) -> None:
    scores = [judge(paper).score for paper in LADDERS[name]]
    assert scores[0] == 1.0
    assert all(later < earlier for earlier, later in zip(scores, scores[1:], strict=False)), scores


FAULTS = {
    'The text "Every lamp is made by hand in Oslo." is missing; it belongs at 32%, 36%.': SHOP.without(2),
    'The text "Only today" should not be there.': replace(
        SHOP, texts=(*SHOP.texts, Text(text="Only today", x=300, y=420))
    ),
    '"Velvet Lantenr" should read "Velvet Lantern".': SHOP.change(0, text="Velvet Lantenr"),
    '"Buy it" should read "Order now".': SHOP.change(3, text="Buy it"),
    'The text "Velvet Lantern" is #dc143c; it should be #000080.': SHOP.change(0, color=RED),
    'The background of "Order now" is #dc143c; it should be #000080.': SHOP.repaint(0, color=RED),
    "The page background is #ffe4c4; it should be #ffffff.": replace(SHOP, canvas=(255, 228, 196)),
    '"Every lamp is made by hand in Oslo." is 40 px too far right.': SHOP.change(2, x=100),
    '"Every lamp is made by hand in Oslo." is set in 32 px; it should be 24 px.': SHOP.change(2, px=32),
    "The div at 78%, 45% is #dc143c; it should be #d3d3d3.": SHOP.repaint(1, color=RED),
    "The div at 78%, 45% is 120 x 240 px; it should be 240 x 240 px.": SHOP.repaint(1, width=120),
    "A div is missing; it belongs at 78%, 45%.": replace(SHOP, fills=SHOP.fills[:1]),
    "The img at 50%, 82% should not be there.": replace(
        SHOP, fills=(*SHOP.fills, Fill(x=350, y=440, width=100, height=100, color=RED, tag="img"))
    ),
    "The page is 1400 px tall; it should be 600 px.": replace(SHOP, height=1400),
    "The page does not move as it should: it looks wrong after 2 s.": replace(SHOP, speed=3.0),
    'The interaction "opens" fails: step 2, no change.': replace(
        SHOP, probes=(ProbeResult(name="opens", held=False, detail="step 2, no change."),)
    ),
    'The interaction "opens" could not be checked: step 1, click.': replace(
        SHOP, probes=(ProbeResult(name="opens", held=False, detail="step 1, click", inconclusive=True),)
    ),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_single_error_is_the_only_feedback(sentence: str) -> None:
    assert judge(FAULTS[sentence]).feedback == (sentence,)


def test_common_shift_is_described_once() -> None:
    lower = replace(SHOP, texts=tuple(replace(text, y=text.y + 20) for text in SHOP.texts))
    assert '"Velvet Lantern" is 20 px too low.' in judge(lower).feedback
    assert sum("too low" in sentence for sentence in judge(lower).feedback) == 1


def test_shift_caused_by_a_missing_text_is_not_described() -> None:
    texts = tuple(replace(text, y=text.y - 50) if text.y > 120 else text for text in SHOP.without(1).texts)
    shorter = replace(SHOP, texts=texts).repaint(0, y=260)
    assert judge(shorter).feedback == ('The text "Lamps for long quiet evenings." is missing; it belongs at 29%, 23%.',)


def test_worst_error_comes_first() -> None:
    wrong = SHOP.change(0, text="Something else entirely", color=RED).change(4, color=(60, 60, 60))
    said = judge(wrong).feedback
    assert said[0] == '"Something else entirely" should read "Velvet Lantern".'
    assert said[-1] == 'The text "Free delivery on all orders" is #3c3c3c; it should be #000000.'
    assert len(judge(OTHER).feedback) == 5


def test_small_deviation_is_described() -> None:
    critique = judge(SHOP.change(2, x=63))
    assert critique.score < 1.0
    assert critique.feedback == ('"Every lamp is made by hand in Oslo." is 3 px too far right.',)


def test_invisible_text_earns_nothing() -> None:
    unseen = SHOP.change(0, color=WHITE)
    assert judge(unseen).parts["blocks"] == judge(SHOP.without(0)).parts["blocks"]


def test_invisible_box_costs_nothing() -> None:
    wrapped = replace(SHOP, fills=(Fill(x=20, y=20, width=400, height=560, color=WHITE), *SHOP.fills))
    assert judge(wrapped).score == 1.0


def test_text_in_several_pieces_counts_as_one_text() -> None:
    pieces = render(SHOP)
    whole = pieces.blocks[0]
    left = replace(whole, text="Velvet", width=150.0)
    right = replace(whole, text="Lantern", x=whole.x + 160.0, width=whole.width - 160.0)
    pieces = replace(pieces, blocks=(left, right, *pieces.blocks[1:]))
    reference = render(SHOP)
    assert CRITIC.judge(TASK, PAGE, pieces, reference, pictures(pieces), pictures(reference)).score == 1.0


def test_many_long_texts_are_matched_in_bounded_time() -> None:
    block = render(SHOP).blocks[0]
    flood = tuple(replace(block, text=f"{i} " + "ab" * 240, y=float(i)) for i in range(3000))
    mine, reference = replace(render(SHOP), blocks=flood), render(SHOP)
    critique = CRITIC.judge(TASK, PAGE, mine, reference, pictures(mine), pictures(reference))
    assert critique.parts["blocks"] < 0.01


def test_images_of_another_size_are_padded_and_not_stretched() -> None:
    mine, reference = render(SHOP), render(SHOP)
    shorter = tuple(picture(SHOP, size=(800, 520)) for _ in mine.shots)  # its bottom is plain canvas
    assert CRITIC.judge(TASK, PAGE, mine, reference, shorter, pictures(reference)).score == 1.0


def test_judging_is_deterministic_with_cached_references() -> None:
    first, second = VisualCritic(), VisualCritic()
    mine, reference = render(OTHER), render(SHOP)
    judged = [
        critic.judge(TASK, PAGE, mine, reference, pictures(mine), pictures(reference))
        for critic in (first, second, first, first)
    ]
    assert all(critique == judged[0] for critique in judged)


def test_invalid_render_is_not_judged() -> None:
    good = render(SHOP)
    with pytest.raises(ValueError, match="outcome 'blank'"):
        CRITIC.judge(TASK, PAGE, replace(good, outcome="blank"), good, pictures(good), pictures(good))
    with pytest.raises(ValueError, match="3 timed shots and 2 pictures"):
        CRITIC.judge(TASK, PAGE, good, good, pictures(good)[:2], pictures(good))


texts = st.builds(
    Text,
    text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).filter(str.strip),
    x=st.integers(0, 600),
    y=st.integers(0, 500),
    px=st.integers(10, 60),
    color=st.tuples(*[st.integers(0, 255)] * 3),
)
fills = st.builds(
    Fill, x=st.integers(0, 700), y=st.integers(0, 500), width=st.integers(1, 300), height=st.integers(1, 99)
)
papers = st.builds(
    Paper,
    texts=st.lists(texts, max_size=5).map(tuple),
    fills=st.lists(fills, max_size=4).map(tuple),
    canvas=st.tuples(*[st.integers(0, 255)] * 3),
    height=st.integers(600, 2000),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(papers, papers)
def test_any_two_pages_can_be_compared(found: Paper, wanted: Paper) -> None:
    critique = judge(found, wanted)
    assert 0.0 <= critique.score <= 1.0
    assert all(0.0 <= part <= 1.0 for part in critique.parts.values())
    assert len(critique.feedback) <= 5
    assert critique.feedback or critique.score == 1.0
    assert judge(found, found).score == 1.0
