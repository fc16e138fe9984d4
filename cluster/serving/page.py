"""The page for briefs, and the sandbox in which it shows drafts."""

from pathlib import Path

from cluster.report.document import document
from cluster.report.html import Html, el, join

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
"""Headers of the page; its other policies are in the document."""
ALLOWED = "img-src data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
"""Directives for pictures, requests and frames: the server's own only, also for navigations of the sandbox."""
PREVIEW = """<!doctype html><meta charset="utf-8"><title>preview</title><script>
addEventListener("message", (event) => {
  document.open();
  document.write(event.data);
  document.close();
}, { once: true });
</script>"""
"""A document that replaces itself by the page that its parent sends."""
PREVIEW_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    ),
}
"""A page of the policy is a stranger's program: its origin is opaque, and it has no network."""


def document_of(model: str, *, needs_key: bool, scored: bool) -> str:
    """The page as HTML. `needs_key` shows a field for the key; `scored` says that a critic scores drafts."""
    here = Path(__file__)
    body = join(
        el(
            "header",
            el("p", "ReLook", class_="mark"),
            el("h1", "Write a page"),
            el("p", el("code", model), class_="run"),
        ),
        _form(needs_key=needs_key, scored=scored),
        el("p", "", id_="status", class_="status", role="status"),
        _writing(),
        _drafts(),
        _trial(),
    )
    return document(
        "Write a page",
        body,
        script=here.with_name("serve.js").read_text("utf-8"),
        style=here.with_name("serve.css").read_text("utf-8"),
        allowed=ALLOWED,
    )


def _form(*, needs_key: bool, scored: bool) -> Html:
    judged = " A critic scores each version." if scored else ""
    words = (
        "Describe the page. The policy writes it, reviews its own page and revises it; a revision that does not render "
        f"is rejected.{judged}"
    )
    rounds = [el("option", str(number), value=number, selected=number == 3) for number in range(4)]
    key = el("label", "Key ", el("input", type="password", id_="key", autocomplete="off", required=True))
    return el(
        "form",
        el("p", words, class_="words", id_="about"),
        el("label", "Brief", for_="brief"),
        el("textarea", id_="brief", rows=4, required=True, maxlength=20000, aria_describedby="about"),
        el(
            "div",
            el("label", "Revisions ", el("select", *rounds, id_="rounds")),
            key if needs_key else None,
            el("button", "Write", type="submit", class_="main"),
            el("button", "Stop", type="button", id_="stop", disabled=True),
            class_="row",
        ),
        id_="ask",
    )


def _writing() -> Html:
    text = el("pre", "", id_="text", tabindex=0, role="region", aria_label="text that the policy writes")
    return el("section", el("h2", "Text"), text, id_="writing", hidden=True)


def _drafts() -> Html:
    strip = el("div", "", id_="drafts", class_="strip", tabindex=0, role="region", aria_label="versions of the page")
    return el("section", el("h2", "Versions"), el("div", strip, class_="card film drafts"), id_="versions", hidden=True)


def _trial() -> Html:
    """The part with the last version: sandbox, sizes, download, second brief."""
    sizes = [
        el("label", el("input", type="radio", name="size", value=value, checked=value == "wide"), f" {words}")
        for value, words in (("wide", "wide"), ("phone", "phone, 390 px"))
    ]
    bar = el(
        "div",
        el("fieldset", el("legend", "Screen"), *sizes),
        el("button", "Restart", type="button", id_="restart"),
        el("a", "Download", id_="download", href="#", download="page.html"),
        class_="row",
    )
    change = el(
        "form",
        el("label", "Second brief for this page", for_="change"),
        el("textarea", id_="change", rows=3, required=True, maxlength=20000),
        el("div", el("button", "Change", type="submit", class_="main"), class_="row"),
        id_="again",
    )
    frame = el("iframe", title="the page", id_="frame", sandbox="allow-scripts", src="about:blank")
    return el(
        "section",
        el("h2", "Try it"),
        el("p", "The page runs in a sandbox without network.", class_="words"),
        bar,
        el("div", frame, class_="screen-frame", tabindex=0, role="region", aria_label="page in the sandbox"),
        change,
        id_="trial",
        hidden=True,
    )
