"""Which pages may earn a reward, and what is said of those that may not."""

import io
from typing import get_args

import pytest
from PIL import Image

from reward.validity import PROBLEMS, SENTENCES, complaint, is_blank
from rollout.parsing import parse_page
from rollout.records import Outcome, Page, Render

PAGE = Page(html="<p>page</p>")


def said(outcome: Outcome, detail: str = "") -> str:
    return complaint(PAGE, Render(page_sha256=PAGE.sha256, outcome=outcome, detail=detail))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_every_outcome_has_a_sentence_of_its_own() -> None:
    assert set(SENTENCES) == set(get_args(Outcome))
    assert said("ok") == ""
    others = [said(outcome) for outcome in get_args(Outcome) if outcome != "ok"]
    assert len(set(others)) == len(others)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in others)


def test_the_sentence_has_the_detail_on_one_bounded_line() -> None:
    assert said("exception", "ReferenceError: x is not\n defined").endswith(": ReferenceError: x is not defined.")
    assert len(said("exception", "x" * 5000)) < 400


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Here is your page.", "there is no ```html block"),
        ("```html\n<p>", "never closed"),
        ("```html\n<p>\n```\n```html\n<p>\n```", "more than one"),
        ("```html\n\n```", "is empty"),
    ],
)
def test_an_answer_without_a_page_is_told_why(text: str, why: str) -> None:
    page = parse_page(text)
    assert page.problem in PROBLEMS
    assert why in complaint(page, None)


def test_a_picture_is_blank_below_half_a_percent() -> None:
    picture = Image.new("RGB", (200, 100), (10, 20, 30))
    assert is_blank(png(picture))
    picture.paste((255, 255, 255), (0, 0, 99, 1))
    assert is_blank(png(picture))
    picture.paste((255, 255, 255), (0, 0, 100, 1))
    assert not is_blank(png(picture))
    assert not is_blank(png(Image.effect_noise((200, 100), 90).convert("RGB")))


def test_blank_is_measured_against_the_own_dominant_colour() -> None:
    black = Image.new("RGB", (100, 100), (0, 0, 0))
    assert is_blank(png(black))
    black.paste((255, 255, 255), (3, 3, 5, 33))  # between the rows that are looked at first, and on them
    assert not is_blank(png(black))
    assert not is_blank(png(black.convert("P")))
    assert is_blank(png(Image.new("P", (100, 100), 7)))
