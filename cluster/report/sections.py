"""Sections of a run's report; each takes its contents and returns HTML."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cluster.report.charts import number, percent
from cluster.report.contents import Report
from cluster.report.curves import curves
from cluster.report.document import section, table
from cluster.report.headline import headline, lead
from cluster.report.html import Html, el, join
from cluster.report.reasons import WORDS, alarm, reasons
from cluster.training.diagnosis import Finding

SHOWN_PAIRS = 6
INFERENCE = {
    "base": ("base decode", "the first page, without revision"),
    "self_edit": ("self-edit", "the policy critiques and revises its own page; no critic"),
    "with_critic": ("full loop", "the critic's feedback; only improving revisions are accepted"),
}
EPISODES = (
    "Episodes with Forced Optimization, newest first. A revision is accepted only if it beats the best page so far, "
    "otherwise another is sampled; accepted rewards therefore rise strictly within an episode."
)


def top(report: Report) -> Html:
    """The top of the report: masthead, alarm, headline."""
    return join(
        masthead(report), alarm(report.alarm, report.remedy), headline(report.summary, report.history, report.exams)
    )


def training_section(report: Report) -> Html:
    """The curves, and how to make a step faster."""
    speed = report.advice and el("p", f"Speed: {report.advice}.", class_="words")
    words = "Thin lines show single steps, bold lines the moving mean."
    return section("Training", words, join(speed, curves(report.history, report.exams)))


def reasons_section(findings: Sequence[Finding]) -> Html:
    """The reasons in the last step why pages earned nothing."""
    return section("Why pages earn no reward", WORDS, reasons(findings))


def inference_section(figures: Mapping[str, Mapping[str, float]]) -> Html:
    """The comparison of three modes of inference."""
    return section("Inference without the critic", *_inference(figures))


def events_section(events: Sequence[str], order: str = "oldest first") -> Html:
    """A list of events in the given order."""
    return section("Events", f"Faults, exams and other events, {order}.", _events(events))


def settings_section(settings: Mapping[str, Any]) -> Html:
    """All settings, folded by their tables."""
    return section("Settings", "All settings of this run.", _settings(settings))


def masthead(report: Report) -> Html:
    """Title, status, a sentence on the results, and the run's id."""
    status = el("span", report.status, class_=f"pill {report.status if report.status.isalpha() else ''}")
    return el(
        "header",
        el("p", "ReLook", class_="mark"),
        el("h1", report.title, status),
        el("p", lead(report.summary, report.exams), class_="lead"),
        el("p", el("code", report.run_id), class_="run"),
    )


def pairs_section(cards: Sequence[Html], total: int) -> Html:
    """Held-out tasks before and after training; `total` counts the omitted ones too."""
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


def _inference(figures: Mapping[str, Mapping[str, float]]) -> tuple[str, Html]:
    rows = {name: figures[name] for name in INFERENCE if figures.get(name)}
    if not rows:
        return "The comparison is measured at the end of the run.", Html("")
    words = "The trained policy on held-out tasks in three modes. Self-edit needs no critic, the full loop uses one."
    base = rows.get("base", {}).get("reward")
    columns = ("", "reward", "against base", "renders", "tokens a task", "seconds a task")
    body = [el("tr", *_inference_row(name, row, base)) for name, row in rows.items()]
    return words, table("Modes of inference", columns, body)


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
    return el("ol", *(el("li", event) for event in events), class_="card events", tabindex=0)


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
