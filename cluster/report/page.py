"""Writes `report.html`: the results of a run in one self-contained file.

All text of a policy, a page or a critic is untrusted: `html.el` escapes it, and the report's Content-Security-Policy
allows no script except `report.js`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.report.charts import number, percent
from cluster.report.curves import curves
from cluster.report.document import document, section
from cluster.report.filmstrips import Album, Film, Pair, film_card, pair_card
from cluster.report.headline import headline, lead
from cluster.report.html import Html, el, join
from cluster.report.reasons import WORDS, alarm, reasons
from cluster.training.diagnosis import Finding
from rollout.files import atomic_write

__all__ = ["Film", "Pair", "Report", "write_report"]

MAX_BYTES = 15_000_000
UNFOLDED_FILMS = 4
SHOWN_PAIRS = 6
INFERENCE = {
    "base": ("base decode", "the first page, without revision"),
    "self_edit": ("self-edit", "the policy critiques and revises its own page; no critic"),
    "with_critic": ("full loop", "the critic's feedback; only improving revisions are accepted"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Contents of the report. Any field may be empty, as in the report of a run that has just begun."""

    run_id: str
    title: str
    status: str
    """`running`, `finished`, `stopped` or `failed`."""
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    """Contents of `summary.json`."""
    history: Sequence[Mapping[str, float]]
    """Metrics, one mapping a step; keys may be missing."""
    exams: Sequence[Mapping[str, float]] = ()
    """`step`, `mean`, `valid`; if measured, `agreement` and `agreement_by_chance`; and relative to the first exam
    `gain`, `low`, `high`."""
    films: Sequence[Film] = ()
    pairs: Sequence[Pair] = ()
    """In the exam's order, without selection."""
    inference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`base`, `self_edit`, `with_critic`: each `reward`, `valid`, `tokens`, `seconds`."""
    events: Sequence[str] = ()
    advice: str = ""
    """How to make a step faster, in one line; see `cluster.training.bottleneck`."""
    alarm: str = ""
    """Reason that the last step's pages earned no reward or equal rewards; see `cluster.training.diagnosis.explain`."""
    remedy: str = ""
    """The usual remedy for the alarm's reason."""
    findings: Sequence[Finding] = ()
    """The reasons in the last step, each with an example."""
    picture: Callable[[str], bytes | None] = lambda sha256: None
    """Returns the PNG of a screenshot by its content hash, or None when it was not stored."""


def write_report(path: Path, report: Report, *, max_bytes: int = MAX_BYTES) -> None:
    """Writes the report atomically. Raises StorageFault.

    To stay within `max_bytes`, films are omitted, oldest first, then pairs, last first; the report states how many.
    """
    atomic_write(path, render(report, max_bytes).encode("utf-8", "replace"))


def render(report: Report, max_bytes: int = MAX_BYTES) -> str:
    """The report as HTML."""
    album = Album(report.picture)
    parts = [
        section(
            "Training",
            "Thin lines show single steps, bold lines the moving mean.",
            join(
                report.advice and el("p", f"Speed: {report.advice}.", class_="words"),
                curves(report.history, report.exams),
            ),
        ),
        section("Inference without the critic", *_inference(report.inference)),
        section("Events", "Faults, exams and other events, oldest first.", _events(report.events)),
        section("Settings", "All settings of this run.", _settings(report.settings)),
    ]
    top = join(
        _masthead(report), alarm(report.alarm, report.remedy), headline(report.summary, report.history, report.exams)
    )
    found = section("Why pages earn no reward", WORDS, reasons(report.findings))
    left = max_bytes - sum(map(_size, [top, found, *parts])) - 30_000
    pairs, left = _fitting((pair_card(pair, album) for pair in report.pairs), left)
    order = sorted(range(len(report.films)), key=lambda place: -report.films[place].step)
    cards = (film_card(report.films[place], album, unfolded=rank < UNFOLDED_FILMS) for rank, place in enumerate(order))
    films, _ = _fitting(cards, left)
    parts.insert(0, _pairs(pairs, len(report.pairs)))
    parts.insert(2, _films(films, len(report.films)))
    if report.findings:
        parts.insert(0 if report.alarm else 2, found)
    return document(report.title, join(top, *parts))


def _fitting(cards: Iterator[Html], left: int) -> tuple[list[Html], int]:
    """The leading cards that fit in `left` bytes, and the remaining bytes."""
    fitting: list[Html] = []
    for card in cards:
        if _size(card) > left:
            break
        fitting.append(card)
        left -= _size(card)
    return fitting, left


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _masthead(report: Report) -> Html:
    status = el("span", report.status, class_=f"pill {report.status if report.status.isalpha() else ''}")
    return el(
        "header",
        el("p", "ReLook", class_="mark"),
        el("h1", report.title, status),
        el("p", lead(report.summary, report.exams), class_="lead"),
        el("p", el("code", report.run_id), class_="run"),
    )


def _pairs(cards: Sequence[Html], total: int) -> Html:
    if not total:
        words = "Pairs appear here once an exam is better than the first one."
        return section("Before and after", words, Html(""))
    shown = f" {total - len(cards)} more are omitted to limit the file's size." if len(cards) < total else ""
    words = (
        "Held-out tasks: the first page of the policy before training and that of the trained champion, with the "
        f"same seed and without revision. All in the exam's order; click to enlarge.{shown}"
    )
    more = cards[SHOWN_PAIRS:]
    folded = el("details", el("summary", f"{len(more)} more"), el("div", *more, class_="pairs"), class_="more")
    return section(
        "Before and after", words, join(el("div", *cards[:SHOWN_PAIRS], class_="pairs"), more and folded or None)
    )


def _films(cards: Sequence[Html], total: int) -> Html:
    if not total:
        return section("Episodes", "No screenshots of episodes are stored yet.", Html(""))
    left_out = f" The {total - len(cards)} oldest are omitted to limit the file's size." if len(cards) < total else ""
    words = (
        "Episodes with Forced Optimization, newest first. A revision is accepted only if it beats the best page so "
        f"far, otherwise another is sampled; accepted rewards therefore rise strictly within an episode.{left_out}"
    )
    return section("Episodes", words, el("div", *cards, class_="films"))


def _inference(table: Mapping[str, Mapping[str, float]]) -> tuple[str, Html]:
    rows = {name: table[name] for name in INFERENCE if table.get(name)}
    if not rows:
        return "The comparison is measured at the end of the run.", Html("")
    words = "The trained policy on held-out tasks in three modes. Self-edit needs no critic, the full loop uses one."
    base = rows.get("base", {}).get("reward")
    head = el(
        "tr", *(el("th", name) for name in ("", "reward", "against base", "renders", "tokens a task", "seconds a task"))
    )
    body = [el("tr", *_inference_row(name, row, base)) for name, row in rows.items()]
    return words, el("div", el("table", el("thead", head), el("tbody", *body)), class_="card table")


def _inference_row(name: str, row: Mapping[str, float], base: float | None) -> Iterator[Html]:
    title, words = INFERENCE[name]
    reward = row.get("reward")
    share = 100 * min(1.0, max(0.0, reward or 0.0))
    yield el("th", title, el("small", words), scope="row")
    yield el("td", el("i", el("i", style=f"width:{share:.0f}%"), class_="bar"), _cell(reward, lambda v: f"{v:.3f}"))
    gain = reward - base if reward is not None and base is not None and name != "base" else None
    yield el("td", _cell(gain, lambda v: f"{v:+.3f}"), class_=gain is not None and ("good" if gain > 0 else "bad"))
    yield el("td", _cell(row.get("valid"), percent))
    yield el("td", _cell(row.get("tokens"), number))
    yield el("td", _cell(row.get("seconds"), number))


def _cell(value: float | None, show: Callable[[float], str]) -> str:
    return "–" if value is None else show(value)


def _events(events: Sequence[str]) -> Html:
    if not events:
        return el("p", "No events.", class_="empty")
    return el("ol", *(el("li", event) for event in events), class_="card events")


def _settings(settings: Mapping[str, Any]) -> Html:
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    rooms = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    folds = [
        el("details", el("summary", name), _values(values), class_="fold")
        for name, values in ({"run": plain} | rooms).items()
        if values
    ]
    return el("div", *folds, class_="card settings")


def _values(values: Mapping[str, Any], prefix: str = "") -> Html:
    return el("dl", *_value_rows(values, prefix)) if not prefix else join(*_value_rows(values, prefix))


def _value_rows(values: Mapping[str, Any], prefix: str) -> Iterator[Html]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield _values(value, f"{prefix}{name}.")
        else:
            yield el("div", el("dt", f"{prefix}{name}"), el("dd", str(value)))
