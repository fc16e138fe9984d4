"""Writes the report of a fine-tuning: corpus, loss curves, sampled pages before and after.

All text of tasks and of the policy is untrusted: `html.el` escapes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.report.charts import Series, lines, number, percent
from cluster.report.curves import column
from cluster.report.document import document, section, table
from cluster.report.filmstrips import Album, Pair, pair_card
from cluster.report.html import Html, el, join
from cluster.report.sections import settings_section
from learner.supervised.examples import FORMS
from rollout.files import atomic_write

FORM_NAMES = {"first": "first page", "revise": "revision", "review": "review"}
TONES = {"first": "blue", "revise": "green", "review": "amber"}
MAX_BYTES = 15_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedReport:
    """Contents of the report; any field may be empty."""

    run_id: str
    status: str
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    pairs: Sequence[Pair]
    picture: Callable[[str], bytes | None]
    """Returns the PNG of a screenshot by its content hash, or None when it was not stored."""


def write_report(path: Path, report: SupervisedReport) -> None:
    """Writes the report atomically. Raises StorageFault. Above MAX_BYTES, the last pages are omitted."""
    atomic_write(path, render(report).encode("utf-8", "replace"))


def render(report: SupervisedReport) -> str:
    """The report as HTML."""
    head = el(
        "header",
        el("p", "ReLook", class_="mark"),
        el("h1", "Supervised fine-tuning", el("span", report.status, class_=f"pill {report.status}")),
        el("p", _lead(report.summary), class_="lead"),
        el("p", el("code", report.run_id), class_="run"),
    )
    losses = section(
        "Losses",
        "Cross-entropy of the answers in nats a token. Held-out tasks are not trained on.",
        el("div", *_charts(report.history), class_="charts"),
    )
    corpus = _corpus(report.summary.get("corpus") or {})
    parts = [head, losses, _samples(report, MAX_BYTES), corpus, settings_section(report.settings)]
    return document("Supervised fine-tuning", join(*parts))


def _lead(summary: Mapping[str, Any]) -> str:
    held_out = summary.get("held_out") or {}
    before, after = (held_out.get(when) or {} for when in ("before", "after"))
    falls = [
        f"{FORM_NAMES[form]} {before[form]:.3f} → {after[form]:.3f}"
        for form in FORMS
        if form in before and form in after
    ]
    return f"Held-out loss in nats a token: {', '.join(falls)}." if falls else "No update is finished yet."


def _charts(history: Sequence[Mapping[str, float]]) -> list[Html]:
    held_out = [
        Series(name=FORM_NAMES[form], points=column(history, f"held_out_{form}"), tone=TONES[form], marks=True)
        for form in FORMS
    ]
    loss = Series(name="training", points=column(history, "loss"), tone="violet")
    match = Series(name="first choice", points=column(history, "match"), tone="teal")
    rate = Series(name="learning rate", points=column(history, "lr"), tone="grey")
    return [
        _figure("Held-out loss", "By form of the example.", lines(held_out)),
        _figure("Training loss", "The batch of each update, before the update.", lines([loss])),
        _figure(
            "Agreement",
            "Share of the answers' tokens that are the model's own first choice.",
            lines([match], show=percent, low=0.0, high=1.0),
        ),
        _figure("Learning rate", "Warm-up, then the schedule.", lines([rate], low=0.0)),
    ]


def _figure(title: str, words: str, chart: Html) -> Html:
    return el("figure", el("h3", title), el("p", words), chart, class_="card")


def _samples(report: SupervisedReport, most: int) -> Html:
    sampled = report.summary.get("samples") or {}
    if not report.pairs or not sampled:
        return section("Sampled pages", "No pages were sampled before and after training.", Html(""))
    album = Album(report.picture)
    cards: list[Html] = []
    left = most
    for pair in report.pairs:
        card = pair_card(pair, album)
        left -= len(card)
        if left > 0:
            cards.append(card)
    before, after = sampled["before"], sampled["after"]
    words = (
        "First pages of held-out tasks with the same seed, without selection. Answers with a page: "
        f"{before['pages']} of {before['answers']} before training, {after['pages']} of {after['answers']} after; "
        f"pages that render: {before['valid']} and {after['valid']}."
    )
    return section("Sampled pages", words, el("div", *cards, class_="pairs"))


def _corpus(corpus: Mapping[str, Any]) -> Html:
    damages: Mapping[str, Mapping[str, int]] = corpus.get("damages") or {}
    if not damages:
        return section("Corpus", "No damaged page was judged.", Html(""))
    rows = [
        el(
            "tr",
            el("th", name.replace("_", " "), scope="row"),
            el("td", number(counted["judged"])),
            el("td", number(counted["kept"])),
            el("td", percent(counted["kept"] / counted["judged"])),
        )
        for name, counted in damages.items()
    ]
    forms = ", ".join(f"{num} {FORM_NAMES[form]}" for form, num in corpus["examples"].items())
    words = (
        f"Reference pages of {corpus['tasks']} tasks, damaged, rendered and judged. A damaged page gives examples only "
        f"if the critic scores it below the reference. Examples: {forms}."
    )
    return section("Corpus", words, table("Damages", ("damage", "judged", "kept", "share"), rows))
