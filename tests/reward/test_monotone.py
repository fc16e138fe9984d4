"""Tests that the embedded critic is monotone on any valid page: 1 for the page itself, less as an error grows."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from drawn_pages import NAVY, PAGE, TASK, WHITE, Fill, Paper, Text, pictures, render
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward.visual.critic import VisualCritic

CRITIC = VisualCritic()
WORDS = ("Lamps", "Velvet evening", "Order today", "Free delivery", "Nine quiet rooms", "Ask us", "Made in Oslo")
INKS = ((0, 0, 0), NAVY, (120, 20, 40), (20, 90, 40))
ROW = 80
"""Height of a row; each row holds one text, so that no two texts overlap."""
SLACK = 1e-9


@st.composite
def sound_pages(draw: st.DrawFn) -> Paper:
    """Two to six readable texts in rows on white, some with a box to the right."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=2, max_size=6, unique=True))
    texts, fills = [], []
    for row, word in enumerate(words):
        size, ink = draw(st.integers(14, 34)), draw(st.sampled_from(INKS))
        texts.append(Text(text=word, x=draw(st.integers(20, 120)), y=20 + ROW * row, px=size, color=ink))
        if draw(st.booleans()):
            width = draw(st.integers(40, 160))
            fills.append(Fill(x=560, y=20 + ROW * row, width=width, height=50, color=draw(st.sampled_from(INKS))))
    return Paper(texts=tuple(texts), fills=tuple(fills))


def shifted(paper: Paper, level: int) -> Paper:
    return paper.change(0, x=paper.texts[0].x + (0, 6, 30, 120)[level])


def recoloured(paper: Paper, level: int) -> Paper:
    """The first text shifted towards a light orange, away from every ink."""
    ink = tuple(round(a + (b - a) * level / 3) for a, b in zip(paper.texts[0].color, (255, 150, 60), strict=True))
    return paper.change(0, color=ink)


def deleted(paper: Paper, level: int) -> Paper:
    return replace(paper, texts=paper.texts[level:])


def resized(paper: Paper, level: int) -> Paper:
    return paper.change(0, px=round(paper.texts[0].px * (1.0, 1.15, 1.4, 1.8)[level]))


def everything(paper: Paper, level: int) -> Paper:
    moved = tuple(replace(text, y=text.y + (0, 4, 16, 48)[level]) for text in paper.texts)
    return replace(paper, texts=moved)


def score(found: Paper, wanted: Paper) -> float:
    mine, reference = render(found), render(wanted)
    return CRITIC.judge(TASK, PAGE, mine, reference, pictures(mine), pictures(reference)).score


Difference = Callable[[Paper, int], Paper]
SOME = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@SOME
@given(sound_pages())
def test_page_scores_one_against_itself_and_an_empty_page_nearly_zero(paper: Paper) -> None:
    assert score(paper, paper) == 1.0
    assert score(Paper(canvas=WHITE), paper) < 0.02  # in a run its render is not valid, so it scores exactly 0


@pytest.mark.parametrize("fault", [shifted, recoloured, deleted, resized, everything])
@SOME
@given(paper=sound_pages())
def test_score_never_rises_with_a_growing_error(fault: Difference, paper: Paper) -> None:
    levels = range(min(4, len(paper.texts) + 1) if fault is deleted else 4)
    scores = [score(fault(paper, level), paper) for level in levels]
    assert scores[0] == 1.0
    assert all(worse < better + SLACK for better, worse in pairwise(scores)), scores
    assert scores[1] < 1.0
