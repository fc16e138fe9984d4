"""Tests of feedback sentences: none asks for a change already made, and moved content is described as moved."""

import re
from dataclasses import replace

import pytest
from drawn_pages import GREY, PAGE, SHOP, TASK, WHITE, Paper, Text, pictures, render
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward.visual import sentences
from reward.visual.blocks import plain
from reward.visual.critic import VisualCritic
from reward.visual.evidence import WEIGHTS, total
from reward.visual.faults import cut_apart
from rollout.records import Critique, Render

CRITIC = VisualCritic()
WORDS = ("Attempts", "Accuracy", "Streak", "Attempt", "Score", "Total score", "1", "1", "10", "Best time today")
ROW = 56
TINTED = replace(SHOP, canvas=(20, 30, 90)).repaint(1, color=(40, 160, 90))
GREYS = Paper(
    texts=tuple(replace(text, color=(40, 40, 40)) for text in SHOP.texts if text.color != WHITE),
    fills=(replace(SHOP.fills[1], color=GREY),),
)
ASKED = re.compile(r"(?:is|in|reads?) (?P<found>[^;]+); it should be (?P<wanted>.+)\.$")
READ = re.compile(r'^"(?P<found>.*)" should read "(?P<wanted>.*)"\.$')
GONE = re.compile(r'^The text "(?P<text>.*)" (?:is missing|should not be there)')
SOME = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def judge(found: Paper | Render, wanted: Paper | Render) -> Critique:
    mine, reference = (page if isinstance(page, Render) else render(page) for page in (found, wanted))
    return CRITIC.judge(TASK, PAGE, mine, reference, pictures(mine), pictures(reference))


def column(words: tuple[str, ...]) -> Paper:
    """One text per row."""
    return Paper(texts=tuple(Text(text=word, x=40, y=20 + ROW * row) for row, word in enumerate(words)))


def exchanged(paper: Paper) -> Paper:
    """Rotate the colour channels: red, green, blue become blue, red, green."""
    texts = tuple(replace(text, color=text.color[2:] + text.color[:2]) for text in paper.texts)
    fills = tuple(replace(fill, color=fill.color[2:] + fill.color[:2]) for fill in paper.fills)
    return replace(paper, texts=texts, fills=fills, canvas=paper.canvas[2:] + paper.canvas[:2])


def idle(sentence: str, found: list[str], wanted: list[str]) -> bool:
    """Whether a page with the found texts already satisfies a sentence."""
    read, asked, gone = READ.match(sentence), ASKED.search(sentence), GONE.match(sentence)
    if read:
        return read["found"] == read["wanted"] or found.count(read["wanted"]) >= wanted.count(read["wanted"])
    if gone:
        return found.count(gone["text"]) == wanted.count(gone["text"])
    return asked is not None and asked["found"] == asked["wanted"]


def asks_for_what_is_there(critique: Critique, found: Paper, wanted: Paper) -> list[str]:
    """The sentences that the page already satisfies."""
    mine, theirs = ([text.text for text in paper.texts] for paper in (found, wanted))
    return [sentence for sentence in critique.feedback if idle(sentence, mine, theirs)]


@SOME
@given(st.permutations(WORDS), st.permutations(WORDS))
def test_reordered_rows_are_described_as_moved(found: list[str], wanted: list[str]) -> None:
    critique = judge(column(tuple(found)), column(tuple(wanted)))
    assert (critique.score == 1.0) == (found == wanted)
    assert bool(critique.feedback) == (found != wanted)
    assert not [sentence for sentence in critique.feedback if READ.match(sentence) or GONE.match(sentence)]


@SOME
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), st.lists(st.sampled_from(WORDS), max_size=9))
def test_feedback_never_asks_for_an_existing_text(found: list[str], wanted: list[str]) -> None:
    mine, theirs = column(tuple(found)), column(tuple(wanted))
    assert asks_for_what_is_there(judge(mine, theirs), mine, theirs) == []


def test_moved_row_is_described_once() -> None:
    wanted = column(("Attempts", "Accuracy", "Streak", "Score"))
    assert judge(column(("Accuracy", "Streak", "Attempts", "Score")), wanted).feedback == (
        'Move "Attempts" above "Accuracy".',
    )
    assert judge(column(("Score", "Attempts", "Accuracy", "Streak")), wanted).feedback == (
        'Move "Score" below "Streak".',
    )


def test_exchange_within_a_row_is_described_as_left_or_right() -> None:
    wanted = Paper(
        texts=tuple(Text(text=word, x=40 + 200 * i, y=40) for i, word in enumerate(("Home", "Shop", "Help")))
    )
    found = Paper(texts=tuple(Text(text=word, x=40 + 200 * i, y=40) for i, word in enumerate(("Shop", "Help", "Home"))))
    assert [said for said in judge(found, wanted).feedback if said.startswith("Move")] == [
        'Move "Home" to the left of "Shop".'
    ]


def test_text_moved_out_of_the_screenshot_is_not_described_as_rewritten() -> None:
    wanted = replace(SHOP, height=1200)
    away = replace(wanted.change(2, y=1000), texts=(*wanted.change(2, y=1000).texts, Text(text="New", x=60, y=200)))
    said = judge(away, wanted).feedback
    assert any(sentence.startswith('"Every lamp is made by hand in Oslo." is 800 px too low') for sentence in said)
    assert asks_for_what_is_there(judge(away, wanted), away, wanted) == []


def test_text_split_in_another_way_counts_as_present() -> None:
    reference = render(column(("Shortcuts:", "Play", "Stop")))
    one, two, rest = reference.blocks
    joined = replace(one, text="Shortcuts: Play", height=two.y + two.height - one.y)
    said = judge(replace(reference, blocks=(joined, rest)), reference).feedback
    assert not [sentence for sentence in said if READ.match(sentence) or GONE.match(sentence)]


def test_texts_that_look_equal_are_equal() -> None:
    assert plain("Caf\u0065\u0301\u00a0 no\u00adir\u200b") == "Café noir"
    reference = render(SHOP)
    spaced = tuple(replace(block, text=block.text.replace(" ", "\u00a0\u200b")) for block in reference.blocks)
    assert judge(replace(reference, blocks=spaced), reference).score == 1.0


@given(st.text(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_long_texts_are_cut_around_their_difference(same: str, one: str, other: str) -> None:
    if one != other:
        found, wanted = cut_apart(same + one, same + other)
        assert max(len(found), len(wanted)) <= 80
        assert found != wanted or len(one) + len(other) > 50


@given(st.floats(5, 80), st.floats(0.05, 3))
def test_different_sizes_are_printed_differently(size: float, more: float) -> None:
    asked = ASKED.search(sentences.wrong_font_size("A", size, size + more).replace(" is set", ""))
    assert asked is not None
    assert asked["found"] != asked["wanted"]
    assert '"A" is 0 px' not in sentences.moved("A", more, 0.0)


def test_exchanged_colour_channels_cost_a_third_on_a_coloured_page() -> None:
    critique = judge(exchanged(TINTED), TINTED)
    assert critique.parts["palette"] < 0.2
    assert critique.score < 0.7
    assert judge(exchanged(GREYS), GREYS).score == 1.0


def test_palette_does_not_depend_on_positions() -> None:
    moved = TINTED.repaint(1, x=480, y=340)
    assert judge(moved, TINTED).parts["palette"] > 0.97
    assert judge(moved, TINTED).parts["color_map"] < 0.9


@given(st.floats(0, 1), st.floats(0, 1))
def test_palette_can_only_lower_the_score(part: float, tints: float) -> None:
    parts = {**dict.fromkeys(WEIGHTS, part), "palette": 1.0}
    assert total(parts) == pytest.approx(part)
    assert total({**parts, "palette": tints}) <= total(parts)
