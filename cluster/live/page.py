"""The document that a browser opens: one or several runs side by side, with the script that keeps them current."""

from collections.abc import Mapping
from pathlib import Path

from cluster.report.document import document
from cluster.report.html import Html, el, join

POLICY = "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
"""Directives for pictures and requests: the server's own only."""


def page(title: str, runs: Mapping[str, list[Html]]) -> str:
    """The document; `runs` maps the path of each run on the server to its parts."""
    columns = [el("div", *items, class_="run-page", data_run=path) for path, items in runs.items()]
    link = el("p", "", id_="link", class_="link", role="status")
    here = Path(__file__)
    return document(
        title,
        join(el("div", *columns, class_="runs"), link),
        script=here.with_name("live.js").read_text("utf-8"),
        style=here.with_name("live.css").read_text("utf-8"),
        allowed=POLICY,
    )
