"""Reading what the policy wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.parsing import parse_feedback, parse_page
from rollout.prompts import answer, feedback_text

PAGE = "<!doctype html>\n<html><body>hi</body></html>"


def test_what_is_asked_for_is_read_back_whole() -> None:
    page = parse_page(answer(PAGE, "a plan"))
    assert (page.html, page.thought, page.problem, page.format_ok) == (PAGE, "a plan", "", True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no page at all", "no_fence"),
        ("```html\n<p>cut", "unclosed_fence"),
        ("```html\n<p>a\n```\n```html\n<p>b\n```\n", "two_pages"),
        ("```html\n\n```\n<get_feedback/>", "empty_page"),
        ("", "no_fence"),
    ],
)
def test_why_there_is_no_page(text: str, problem: str) -> None:
    page = parse_page(text)
    assert (page.html, page.problem, page.format_ok) == (None, problem, False)


@pytest.mark.parametrize(
    "text",
    [
        f"```html\n{PAGE}\n```\nthat's it <get_feedback/>",
        f"Here you are:\n```html\n{PAGE}\n```\n<get_feedback/>",
        f"<think>open\n```html\n{PAGE}\n```\n<get_feedback/>",
        f"```html\n{PAGE}\n```\n",
    ],
)
def test_a_page_in_the_wrong_form_is_still_a_page(text: str) -> None:
    page = parse_page(text)
    assert (page.html, page.format_ok) == (PAGE, False)


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert (parse_page(text).html is None) == bool(parse_page(text).problem)
    assert len(parse_feedback(text)) <= 5


def test_feedback_is_read_back() -> None:
    sentences = ("The title is missing.", "It is too wide.")
    assert parse_feedback(feedback_text(sentences)) == sentences
    assert parse_feedback("nothing to say") == ()
