"""Writes `report.html` of a benchmark: scores of policy, reference and empty page, then every item with its picture.

Answers, error messages and pictures are untrusted: `html.el` escapes all text, and the document allows no script but
its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.benchmarks.play import POLICY
from cluster.benchmarks.records import TestResult
from cluster.benchmarks.results import ResultFolder
from cluster.report.document import document, section, table
from cluster.report.filmstrips import embedded
from cluster.report.html import Html, el, join
from rollout.files import atomic_write

MAX_BYTES = 15_000_000
SHOWN_DETAIL = 300
TONES = {"pass": "good", "fail": "bad"}


def write_report(folder: ResultFolder, summary: Mapping[str, Any], order: Sequence[str]) -> Path:
    """Writes the report atomically, with the items in `order`. Raises StorageFault.

    Above MAX_BYTES, pictures are left out.
    """
    parts = [
        el(
            "header",
            el("p", "ReLook", class_="mark"),
            el("h1", f"{summary['benchmark']}: {summary['policy']}"),
            el("p", _lead(summary), class_="lead"),
        ),
        section(
            "Scores",
            "Machine faults count in no score; they are asked again when the command is repeated.",
            _scores(summary),
        ),
        section(
            "Differences from the public harness",
            _mode(summary),
            el("ul", *(el("li", one) for one in summary["repairs"]), class_="listed"),
        ),
    ]
    left = MAX_BYTES - sum(len(part) for part in parts)
    cards: list[Html] = []
    answered = folder.results.get(POLICY, {})
    for item in order:
        card = _card(folder, item, answered[item], picture=left > 0)
        left -= len(card)
        cards.append(card)
    parts.append(
        section(
            "Items", "Every answer of the policy, in the order of the benchmark.", el("div", *cards, class_="pairs")
        )
    )
    return atomic_write(folder.path / "report.html", document(str(summary["benchmark"]), join(*parts)).encode())


def _lead(summary: Mapping[str, Any]) -> str:
    counts = summary["tests"][POLICY]
    tested = counts["pass"] + counts["fail"] + counts["no_answer"]
    unanswered = f", {counts['no_answer']} without an answer" if counts["no_answer"] else ""
    faults = f"; {counts['machine_fault']} not tested because of machine faults" if counts["machine_fault"] else ""
    return f"{counts['pass']} of {tested} tests pass{unanswered}{faults}."


def _mode(summary: Mapping[str, Any]) -> str:
    if summary["faithful"]:
        return "None: the public procedure with its defects. The default mode repairs these:"
    return "This mode repairs the following; --faithful does not."


def _scores(summary: Mapping[str, Any]) -> Html:
    names = list(summary["scores"][POLICY])
    columns = ["", *(name.replace("_", " ") for name in names), "machine faults"]
    rows = [
        el(
            "tr",
            el("th", subject, scope="row"),
            *(el("td", f"{100 * scores[name]:.2f} %") for name in names),
            el("td", str(summary["tests"][subject]["machine_fault"])),
        )
        for subject, scores in summary["scores"].items()
    ]
    return table("Scores", columns, rows)


def _card(folder: ResultFolder, item: str, results: Sequence[TestResult], *, picture: bool) -> Html:
    path = folder.picture(POLICY, item)
    shown = (
        picture
        and path.is_file()
        and el("img", class_="shot", tabindex=0, src=embedded(path.read_bytes()), alt=f"the page of {item}")
    )
    tests = [
        el(
            "li",
            el("b", one.verdict.replace("_", " "), class_=TONES.get(one.verdict)),
            f" {one.test}",
            one.detail and el("small", f" {_cut(one.detail)}"),
        )
        for one in results
    ]
    listed = el("details", el("summary", _summary_line(results)), el("ul", *tests, class_="tests"))
    return el("article", el("h3", item), shown, listed, class_="card tested")


def _summary_line(results: Sequence[TestResult]) -> str:
    passed = sum(one.verdict == "pass" for one in results)
    mean = sum(one.score for one in results) / max(1, len(results))
    return f"{passed} of {len(results)} tests pass, mean score {mean:.2f}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_DETAIL else f"{line[:SHOWN_DETAIL]}…"
