"""Page of the drafts of one brief, side by side: screenshot, outcome, the policy's own feedback, source, difference.

Drafts are pages of a policy: `html.el` escapes their text, and none is shown except as a screenshot.
"""

from collections.abc import Iterator, Sequence

from cluster.report.charts import share
from cluster.report.document import document, section
from cluster.report.filmstrips import Album, diff, feedback_list, fold, screen, source_text
from cluster.report.html import Html, el, join
from reward.validity import complaint
from rollout.records import Critique, Page
from rollout.selfedit import Draft


def drafts_page(brief: str, drafts: Sequence[Draft], model: str) -> str:
    """The page as HTML; `model` names the policy. The drafts' screenshots must have their pictures."""
    before = [None, *(draft.page for draft in drafts)]
    cards = [draft_card(draft, previous) for draft, previous in zip(drafts, before, strict=False)]
    head = el("header", el("p", "ReLook", class_="mark"), el("h1", "Drafts"), el("p", el("code", model), class_="run"))
    words = (
        "The policy writes a page, reviews it and revises it; no critic is asked. A revision that does not render is "
        "rejected."
    )
    strip = el("div", *cards, class_="strip", tabindex=0, role="region", aria_label="drafts")
    body = el("div", el("p", brief, class_="brief"), strip, class_="card film drafts")
    return document("Drafts", join(head, section("Rounds", words, body)))


def draft_card(draft: Draft, previous: Page | None, critique: Critique | None = None) -> Html:
    """A draft with its difference from the page before, and the judgment of a critic, if one was asked."""
    album = Album({shot.sha256: shot.picture for shot in (draft.render.shots if draft.render else ())}.get)
    kind = "start" if draft.round == 0 else "accepted" if draft.kept else "rejected"
    label = {"start": "start", "accepted": "✓ kept", "rejected": "✕ revision rejected: the page before remains"}[kind]
    frame = el(
        "div",
        el("div", el("b", label), class_="verdict"),
        screen(draft.render, "page", album),
        None if draft.valid else el("p", complaint(draft.page, draft.render), class_="problem"),
        el("p", f"{draft.tokens:,} tokens and {draft.seconds:.1f} s so far", class_="compared"),
        *_judgment(critique),
        *_texts(draft, previous),
        class_=f"attempt {kind}",
    )
    title = "First page" if draft.round == 0 else f"Revision {draft.round}"
    return el("section", el("h3", title), el("div", frame, class_="frames"), class_="round")


def _judgment(critique: Critique | None) -> Iterator[Html | None]:
    if critique is not None:
        yield el("div", "critic's score ", el("b", share(critique.score), class_="total"), class_="score")
        yield feedback_list(critique.feedback)


def _texts(draft: Draft, previous: Page | None) -> Iterator[Html | None]:
    if draft.feedback:
        yield el("p", "Own feedback on the page before:", class_="compared")
        yield feedback_list(draft.feedback)
    if draft.page.html is not None:
        yield fold("page source", source_text(draft.page.html))
        if draft.kept and previous is not None and previous.html is not None:
            yield fold("difference from the page before", diff(previous.html, draft.page.html))
