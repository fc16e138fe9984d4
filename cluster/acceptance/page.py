"""Writes `acceptance.html`: the predicted step, the bottleneck, and every measurement, in one self-contained file."""

from collections.abc import Sequence
from pathlib import Path

from cluster.acceptance.measurement import Acceptance, Measurement
from cluster.report.document import document, section, table
from cluster.report.headline import duration
from cluster.report.html import Html, el, join
from rollout.files import atomic_write

TONES = {"ok": "good", "slow": "", "wrong": "bad"}


def write_page(path: Path, acceptance: Acceptance) -> Path:
    """Writes the page atomically. Raises StorageFault."""
    return atomic_write(path, render(acceptance).encode("utf-8", "replace"))


def render(acceptance: Acceptance) -> str:
    """The page as HTML."""
    wrong, slow = acceptance.of("wrong"), acceptance.of("slow")
    parts = [
        _masthead(acceptance),
        _tiles(acceptance),
        wrong and section("Wrong", "A run would fail, or learn from wrong data.", _table(wrong)),
        slow and section("Slow", "A run would work, slower than this cluster allows.", _table(slow)),
        section("All measurements", "In the order of measurement, with the settings' own placement.",
                _table(acceptance.measurements)),
    ]  # fmt: skip
    return document(f"Acceptance of {acceptance.name}", join(*(part or None for part in parts)))


def lead(acceptance: Acceptance) -> str:
    """One sentence: the problems, and the time of a step."""
    wrong, slow = len(acceptance.of("wrong")), len(acceptance.of("slow"))
    found = f"{wrong} of {len(acceptance.measurements)} measurements are wrong" if wrong else "Nothing is wrong"
    found += f", {slow} slow." if slow else "."
    step = acceptance.prediction
    if step is None:
        return f"{found} No step could be measured."
    return (
        f"{found} A step will take {duration(step.step_s)}, and {step.steps} steps {duration(step.run_s)} without "
        f"exams. Bottleneck: {step.bottleneck}."
    )


def _masthead(acceptance: Acceptance) -> Html:
    step = acceptance.prediction
    tone = {"ok": "finished", "slow": "", "wrong": "failed"}[acceptance.verdict]
    return el(
        "header",
        el("p", "ReLook", class_="mark"),
        el("h1", f"Acceptance of {acceptance.name}", el("span", acceptance.verdict, class_=f"pill {tone}".strip())),
        el("p", lead(acceptance), class_="lead"),
        step and el("p", f"Speed: {step.advice}.", class_="words"),
        el("p", f"Measured in {duration(acceptance.seconds)}.", class_="run"),
    )


def _tiles(acceptance: Acceptance) -> Html | None:
    step = acceptance.prediction
    if step is None:
        return None
    shown = (
        ("A step", step.step_s, f"predicted from {step.origin}"),
        ("Playing", step.play_s, "generation, rendering and judgments of all episodes"),
        ("Learning", step.learn_s, "one update, with every accepted turn"),
        ("Weight sync", step.sync_s, "from the learner to all engines, proven"),
    )
    tiles = (
        el("div", el("h3", title), el("p", _seconds(value), class_="figure"), el("p", words), class_="tile card")
        for title, value, words in shown
    )
    return el("div", *tiles, class_="tiles")


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else duration(value)


def _table(measurements: Sequence[Measurement]) -> Html:
    rows = [
        el(
            "tr",
            el(
                "th",
                one.what,
                one.expected and el("small", f"expected: {one.expected}"),
                one.advice and el("small", one.advice),
                scope="row",
            ),
            el("td", one.value),
            el("td", one.verdict, class_=TONES[one.verdict] or None),
        )
        for one in measurements
    ]
    return table("Measurements", ("", "figure", "verdict"), rows)
