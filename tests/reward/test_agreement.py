"""Tests of the agreement of two critiques: order, missing and repeated sentences, symmetry, and agreement by chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward.agreement import agreement, by_chance, likeness, on_page
from reward.visual import sentences

MISSING = sentences.missing_text("Sign up", 10, 20)
COLOR = sentences.wrong_canvas((255, 255, 255), (0, 0, 16))
MOVED = sentences.moved("Prices", 12, 0)
said = st.lists(st.sampled_from([MISSING, COLOR, MOVED, "", "More room."]), max_size=5)


def test_equal_complaints_agree_in_any_order() -> None:
    assert agreement([MISSING, COLOR, MOVED], [MOVED, MISSING, COLOR]) == 1.0
    assert agreement([], []) == 1.0


def test_complaints_against_none_have_agreement_zero() -> None:
    assert agreement([MISSING], []) == agreement([], [MISSING]) == 0.0


def test_extra_complaint_of_one_critique_lowers_agreement_to_two_thirds() -> None:
    assert agreement([MISSING], [MISSING, "zzz"]) == pytest.approx(2 / 3)


def test_one_sentence_cannot_match_two() -> None:
    assert agreement([COLOR], [COLOR, COLOR]) == pytest.approx(2 / 3)


def test_best_assignment_counts_and_not_the_first_match() -> None:
    # "a b" must match "a b"; the first match in order would be "a b c", which "a b c d" needs.
    assert agreement(["a b", "a b c d"], ["a b c", "a b"]) == pytest.approx((1.0 + 6 / 7) / 2)


def test_wrong_number_in_the_right_phrase_is_a_partial_match() -> None:
    off = likeness(sentences.moved("Prices", 12, 0), sentences.moved("Prices", 30, 0))
    assert off == pytest.approx(6 / 7)
    assert likeness(MISSING, COLOR) < 0.5


def test_chance_agreement_is_that_with_critiques_of_other_pages() -> None:
    pairs = {"a": ([MISSING], [MISSING]), "b": ([COLOR], [COLOR])}
    assert on_page(pairs) == 1.0
    assert by_chance(pairs) == pytest.approx(likeness(MISSING, COLOR))
    parrot = {page: ([COLOR], theirs) for page, (_, theirs) in pairs.items()}
    assert on_page(parrot) == pytest.approx(by_chance(parrot) or 0.0), "who always says the same has seen nothing"
    assert by_chance({"a": pairs["a"]}) is None


@given(said, said)
def test_agreement_is_symmetric_and_between_zero_and_one(one: list[str], other: list[str]) -> None:
    assert agreement(one, other) == pytest.approx(agreement(other, one))
    assert 0.0 <= agreement(one, other) <= 1.0
    assert agreement(one, one) == 1.0
