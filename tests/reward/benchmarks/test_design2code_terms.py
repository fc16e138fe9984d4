"""Tests of the Design2Code terms: exact values by hand, bounds, and the order of graded damage."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from reward.benchmarks.design2code_terms import Block, Terms, compare

BLACK = (0.0, 0.0, 0.0)
TEXTS = ("our bakery in the old town", "fresh bread every morning", "opening hours", "find us at the market square")


def block(text: str, y: float, x: float = 0.1, color: tuple[float, float, float] = BLACK) -> Block:
    return Block(text=text, x=x, y=y, width=0.5, height=0.05, color=color)


PAGE = [block(text, 0.1 + 0.2 * i) for i, text in enumerate(TEXTS)]


def test_a_page_equals_itself() -> None:
    assert compare(PAGE, PAGE) == Terms(block=1.0, text=1.0, position=1.0, color=1.0)
    assert compare(PAGE, PAGE).mean == 1.0


@pytest.mark.parametrize(("page", "reference"), [([], PAGE), (PAGE, []), ([block("zzzz", 0.1)], PAGE)])
def test_a_blank_page_and_a_foreign_text_have_no_score(page: Sequence[Block], reference: Sequence[Block]) -> None:
    assert compare(page, reference).mean == 0.0


def test_block_match_is_the_share_of_matched_area() -> None:
    # Three of the four blocks have a partner: (3 + 3) / (3 + 3 + 1) of equal areas.
    assert compare(PAGE[:3], PAGE).block == pytest.approx(6 / 7)


def test_position_is_the_largest_shift_of_a_centre() -> None:
    moved = [replace(one, x=one.x + 0.02, y=one.y + 0.05) for one in PAGE]
    assert compare(moved, PAGE) == Terms(block=1.0, text=1.0, position=pytest.approx(0.95), color=1.0)


def test_color_is_the_ciede2000_distance() -> None:
    # Black and white differ by 100.
    white = [replace(one, color=(255.0, 255.0, 255.0)) for one in PAGE]
    assert compare(white, PAGE).color == pytest.approx(0.0, abs=1e-4)
    assert compare(white, PAGE).position == 1.0


def test_text_is_the_share_of_equal_characters() -> None:
    # 2 * 13 equal characters of 13 + 15.
    assert compare([block("opening hours", 0.1)], [block("opening hours: ", 0.1)]).text == pytest.approx(26 / 28)


def test_a_text_that_is_split_is_joined_before_it_is_matched() -> None:
    first = replace(PAGE[0], text="our bakery", width=0.2)
    rest = replace(PAGE[0], text="in the old town", x=0.3, width=0.3)
    terms = compare([first, rest, *PAGE[1:]], PAGE)
    assert terms.mean == pytest.approx(1.0)
    assert compare(PAGE, [first, rest, *PAGE[1:]]).mean == pytest.approx(1.0)


def test_more_damage_never_scores_higher() -> None:
    means = []
    for damage in range(5):
        damaged = [
            replace(
                one, text=one.text[: len(one.text) - 4 * damage], x=one.x + 0.05 * damage, color=(50.0 * damage, 0, 0)
            )
            for one in PAGE
        ]
        means.append(compare(damaged[: 5 - damage], PAGE).mean)
    assert means == sorted(means, reverse=True)
    assert means[0] == 1.0
    assert means[-1] < 0.6
