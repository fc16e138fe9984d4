"""The frame of every HTML report: head, Content-Security-Policy, style, script, enlarged pictures."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from cluster.report.html import Html, el


def document(title: str, body: Html, *, script: str = "", style: str = "", allowed: str = "img-src data:") -> str:
    """A whole page: the report's style and script, and a policy that allows no other script and no request.

    `script` and `style` are added to the report's own; `allowed` are the policy's directives for pictures and requests.
    """
    here = Path(__file__)
    script = here.with_name("report.js").read_text("utf-8") + script
    style = here.with_name("report.css").read_text("utf-8") + style
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; {allowed}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} · ReLook"),
        el("link", rel="icon", href="data:,"),
        el("style", Html(style)),
    )
    stage = el("dialog", el("img", src="data:,", alt=""), el("p"))
    return "<!doctype html>\n" + el(
        "html", head, el("body", el("main", body), stage, el("script", Html(script))), lang="en"
    )


def section(title: str, words: str, body: Html) -> Html:
    """A section with its heading and an explanation."""
    return el("section", el("h2", title), el("p", words, class_="words"), body)


def table(name: str, columns: Iterable[str], rows: Iterable[Html]) -> Html:
    """A table in a card, with its column titles. Keyboards reach it, because it scrolls on a small screen."""
    head = el("tr", *(el("th", column, scope="col") for column in columns))
    body = el("table", el("thead", head), el("tbody", *rows))
    return el("div", body, class_="card table", tabindex=0, role="region", aria_label=name)
