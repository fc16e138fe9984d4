"""Tests of render validity, and of the complaints about invalid pages."""

import io
from typing import get_args

import pytest
from PIL import Image

from reward.validity import PROBLEMS, SENTENCES, blank_detail, complaint, is_blank
from rollout.parsing import parse_edits, parse_page
from rollout.records import Outcome, Page, Render, Shot

PAGE = Page(html="<p>page</p>")


def said(outcome: Outcome, detail: str = "") -> str:
    return complaint(PAGE, Render(page_sha256=PAGE.sha256, outcome=outcome, detail=detail))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_every_outcome_has_its_own_sentence() -> None:
    assert set(SENTENCES) == set(get_args(Outcome))
    assert said("ok") == ""
    others = [said(outcome) for outcome in get_args(Outcome) if outcome != "ok"]
    assert len(set(others)) == len(others)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in others)


def test_complaint_has_the_detail_on_one_bounded_line() -> None:
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
def test_complaint_about_an_answer_without_a_page_says_why(text: str, why: str) -> None:
    page = parse_page(text)
    assert page.problem in PROBLEMS
    assert why in complaint(page, None)


WHITE = (255, 255, 255)


def drawn(*rects: tuple[int, int, int, int], ink: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """A white image of 1024 x 768 with filled rectangles."""
    picture = Image.new("RGB", (1024, 768), WHITE)
    for rect in rects:
        picture.paste(ink, rect)
    return png(picture)


@pytest.mark.parametrize("color", [WHITE, (0, 0, 0), (10, 20, 30)])
def test_image_of_one_colour_is_blank(color: tuple[int, int, int]) -> None:
    assert is_blank(png(Image.new("RGB", (1024, 768), color)))
    assert is_blank(png(Image.new("RGB", (390, 844), color)))
    assert is_blank(png(Image.new("P", (100, 100), 7)))


def test_image_with_visible_content_is_not_blank() -> None:
    """A hairline, a letter across the corner of four cells, a faint field, a page half of one colour."""
    assert not is_blank(drawn((100, 300, 140, 301)))
    assert not is_blank(drawn((302, 303, 304, 311)))
    assert not is_blank(drawn((1022, 760, 1024, 768)))
    assert not is_blank(drawn((100, 300, 140, 310), ink=(245, 245, 245)))
    assert not is_blank(drawn((0, 0, 512, 768)))
    assert not is_blank(png(Image.effect_noise((200, 100), 90).convert("RGB")))
    assert not is_blank(png(Image.effect_noise((3, 5), 90).convert("P")))


def test_image_with_invisible_content_is_blank() -> None:
    """A stray pixel, dust, a colour too near to its background, faint noise."""
    assert is_blank(drawn((300, 300, 301, 301)))
    assert is_blank(drawn((300, 300, 302, 302)))
    assert is_blank(drawn(*((x, y, x + 1, y + 1) for x in range(7, 1000, 40) for y in range(5, 760, 40))))
    assert is_blank(drawn((0, 0, 400, 400), ink=(248, 248, 248)))
    noise = Image.effect_noise((1024, 768), 40).point(lambda level: 200 + level % 7)
    assert is_blank(png(noise.convert("RGB")))


def test_render_is_blank_if_its_last_screenshot_is_blank() -> None:
    shots = tuple(Shot(at_ms=at, sha256=str(at), width=9, height=9) for at in (0, 1000, 2000))
    assert blank_detail(shots, [True, True, False]) == ""
    assert blank_detail(shots, [False, True, False]) == ""
    assert blank_detail(shots, [True, True, True]) == "no screenshot shows anything"
    gone = blank_detail(shots, [True, False, True])
    assert gone == "what the screenshot at 1000 ms shows is gone in the last one, at 2000 ms"


def test_complaint_names_refused_resources() -> None:
    blocked = ("Script https://cdn.example.org/chart.js?v=4", "Document https://example.org/")
    for outcome in ("blank", "exception"):
        shown = Render(page_sha256=PAGE.sha256, outcome=outcome, detail="x is not defined", blocked=blocked)
        assert complaint(PAGE, shown).endswith(
            'x is not defined. The script "https://cdn.example.org/chart.js" is not available: '
            "a page is shown without network and other files."
        )
    assert complaint(PAGE, Render(page_sha256=PAGE.sha256, outcome="ok", blocked=blocked)) == ""


def test_complaint_about_edits_names_the_edit_and_its_lines() -> None:
    said = complaint(parse_edits("<<<<<<< SEARCH\n<p>b</p>\n=======\n>>>>>>> REPLACE", "<p>a</p>"), None)
    lines = 'the SEARCH lines of edit 1 are not in the page, which has no line "<p>b</p>"'
    assert said == f"No page could be read from the answer: {lines}."
    assert complaint(parse_edits("nothing", "<p>a</p>"), None).endswith("there is no SEARCH and REPLACE block.")
