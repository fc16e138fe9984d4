"""Tests of the page of drafts: its content, and the escaping of untrusted text."""

from dataclasses import replace

from drawn_episodes import PICTURES, html, picture

from cluster.report.drafts import drafts_page
from rollout.records import Page, Render
from rollout.selfedit import Draft

EVIL = "</script></pre><img src=x onerror=alert(1)><script>alert(2)</script>"


def draft(number: int, level: int, **fields: object) -> Draft:
    shot = picture(1, level)
    page = Page(html=html(level))
    render = Render(page_sha256=page.sha256, outcome="ok", shots=(replace(shot, picture=PICTURES[shot.sha256]),))
    made = Draft(round=number, page=page, render=render, tokens=100 * (number + 1), seconds=1.5 * number)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_drafts_are_shown_side_by_side_with_feedback_and_differences() -> None:
    torn = Render(page_sha256="t", outcome="exception", detail="ReferenceError: plans is not defined")
    drafts = [
        draft(0, 2, render=torn),
        draft(1, 4, feedback=("Make the headline bigger.",)),
        draft(2, 4, kept=False, feedback=("Add a footer.",)),
    ]
    page = drafts_page("Build a pricing page.", drafts, "demo-1")
    for words in ("Build a pricing page.", "First page", "Revision 2", "✓ kept", "✕ revision rejected", "demo-1",
                  "Add a footer.",
                  "Make the headline bigger.", "300 tokens", "plans is not defined"):  # fmt: skip
        assert words in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("difference from the page before") == 1


def test_untrusted_text_is_never_markup() -> None:
    evil = draft(1, 2, page=Page(html=EVIL), feedback=(EVIL,))
    page = drafts_page(EVIL, [draft(0, 1), evil], EVIL)
    assert "<img src=x" not in page
    assert page.count("<script>") == 1
