"""Report section on pages that earned nothing and groups without a signal, with one example for each reason.

The examples are answers of the policy: untrusted text, which `html.el` escapes.
"""

from collections.abc import Sequence

from cluster.report.charts import percent
from cluster.report.html import Html, el
from cluster.training.diagnosis import Finding, words_of

WORDS = (
    "Each reason in the last finished step, most frequent first, with the browser's most frequent message and one "
    "unmodified answer of the policy."
)


def alarm(reason: str, remedy: str) -> Html | None:
    """Warning box at the top of the report, shown when pages earn no reward or siblings earn equal rewards."""
    if not reason:
        return None
    helps = el("p", el("b", "What usually helps: "), remedy, ".") if remedy else None
    return el("aside", el("p", f"{reason[:1].upper()}{reason[1:]}.", class_="reason"), helps, class_="card alarm")


def reasons(findings: Sequence[Finding]) -> Html:
    """One card for each reason."""
    return el("div", *map(_card, findings), class_="reasons")


def _card(finding: Finding) -> Html:
    share = finding.count / finding.total if finding.total else 0.0
    words = words_of(finding.reason)
    return el(
        "article",
        el(
            "h3",
            el("span", f"{words[:1].upper()}{words[1:]}"),
            el("span", f"{finding.count} of {finding.total} {finding.unit}", class_="count"),
        ),
        el("i", el("i", style=f"width:{100 * share:.0f}%"), class_="bar", title=percent(share)),
        finding.detail and el("p", finding.detail, class_="problem"),
        finding.brief and el("p", el("b", "Brief: "), finding.brief, class_="asked"),
        el("pre", finding.text) if finding.text else el("p", "The answer is empty.", class_="empty"),
        class_="card why",
    )
