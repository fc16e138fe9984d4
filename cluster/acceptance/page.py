"""Writes `acceptance.html`: the predicted step, the bottleneck, and every measurement, in one self-contained file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.acceptance.measurement import Acceptance, Measurement
from cluster.report.document import document, section, table
from cluster.report.headline import duration
from cluster.report.html import Html, el, join
from rollout.files import atomic_write

TONES = {"ok": "good", "slow": "warn", "wrong": "bad"}
WHOLE_SECONDS = 600.0
"""Times below are shown in seconds: minutes would round away the shares of a step."""


def write_page(path: Path, acceptance: Acceptance) -> Path:
    """Writes the page atomically. Raises StorageFault."""
    return atomic_write(path, render(acceptance).encode("utf-8", "replace"))


def render(acceptance: Acceptance) -> str:
    """The page as HTML."""
    wrong, slow = acceptance.of("wrong"), acceptance.of("slow")
    parts = [
        _masthead(acceptance),
        el("div", *_tiles(acceptance), class_="tiles"),
        wrong and section("Wrong", "A run would fail, or learn from wrong data.", _table(wrong)),
        slow and section("Slow", "A run would work, slower than this cluster allows.", _table(slow)),
        section("All measurements", "In the order of measurement, with the settings' own placement.",
                _table(acceptance.measurements)),
    ]  # fmt: skip
    return document(f"Acceptance of {acceptance.name}", join(*(part or None for part in parts)))


def lead(acceptance: Acceptance) -> str:
    """The problems, the time of a step, and the bottleneck, in a few short sentences."""
    wrong, slow = len(acceptance.of("wrong")), len(acceptance.of("slow"))
    found = f"{wrong} of {len(acceptance.measurements)} measurements are wrong" if wrong else "Nothing is wrong"
    found += f", {slow} slow." if slow else "."
    step = acceptance.prediction
    if step is None:
        return f"{found} No step could be measured."
    return (
        f"{found} A step will take {_time(step.step_s)}, and {step.steps} steps {_time(step.run_s)} without exams. "
        f"Bottleneck: {step.bottleneck}."
    )


def _masthead(acceptance: Acceptance) -> Html:
    tone = {"ok": "finished", "slow": "", "wrong": "failed"}[acceptance.verdict]
    return el(
        "header",
        el("p", "ReLook", class_="mark"),
        el("h1", f"Acceptance of {acceptance.name}", el("span", acceptance.verdict, class_=f"pill {tone}".strip())),
        el("p", lead(acceptance), class_="lead"),
        el("p", f"Measured in {duration(acceptance.seconds)}.", class_="run"),
    )


def _tiles(acceptance: Acceptance) -> Iterable[Html]:
    """The answers to the questions before a run: what is wrong, what a step takes, and what limits it."""
    step = acceptance.prediction
    if step is not None:
        yield _tile("A step", _time(step.step_s), f"predicted from {step.origin}")
        yield _tile("Bottleneck", step.bottleneck, step.advice)
    for verdict in ("wrong", "slow"):
        names = "; ".join(one.what for one in acceptance.of(verdict))
        yield _tile(verdict.capitalize(), str(len(acceptance.of(verdict))), names, TONES[verdict] if names else "")
    if step is not None:
        yield _tile("Playing", _time(step.play_s), "generation, rendering and judgments of all episodes")
        yield _tile("Learning", _time(step.learn_s), "one update, with every accepted turn")
        yield _tile("Weight sync", _time(step.sync_s), "from the learner to all engines, proven")
        yield _tile("The run", _time(step.run_s), f"{step.steps} steps, without exams")


def _tile(title: str, value: str, words: str, tone: str = "") -> Html:
    figure = el("p", value, class_=f"figure {tone}".strip())
    return el("div", el("h3", title), figure, el("p", words or "no measurement"), class_="tile card")


def _time(seconds: float) -> str:
    if seconds < WHOLE_SECONDS:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return duration(seconds)


def _table(measurements: Sequence[Measurement]) -> Html:
    """One row for each measurement: what, the expectation and the remedy; the figure above its verdict."""
    rows = [
        el(
            "tr",
            el(
                "th",
                one.what,
                one.advice and el("span", one.advice, class_="advice"),
                one.expected and el("small", f"expected: {one.expected}"),
                scope="row",
            ),
            el("td", one.value, el("small", one.verdict, class_=TONES[one.verdict])),
        )
        for one in measurements
    ]
    return el("div", table("Measurements", ("measurement", "figure and verdict"), rows), class_="verdicts")
