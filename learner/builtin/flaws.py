"""Deliberate page flaws in the built-in policy's corpus, which reinforcement learning has to remove.

Each flaw is a separate mode, drawn independently of the brief and decided at one position of the answer.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from rollout.prompts import GET_FEEDBACK, answer
from rollout.records import Outcome

NOTHING = "no screenshot shows anything"
"""Render detail of a page that is blank in all screenshots; see `reward.validity.blank_detail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A broken answer and the render outcome it would have."""

    text: str
    """The policy's whole answer."""
    flaw: str
    outcome: Outcome
    detail: str = ""
    """Detail of the render: the exception's message, or why the page is blank."""


def unclosed_style(html: str, thought: str, rng: random.Random) -> Broken:
    """Removes </style>, so the style contains the body."""
    return Broken(
        text=answer(html.replace("</style>", "", 1), thought), flaw="unclosed_style", outcome="blank", detail=NOTHING
    )


def unclosed_title(html: str, thought: str, rng: random.Random) -> Broken:
    """Removes </title>, so the title contains the page."""
    return Broken(
        text=answer(html.replace("</title>", "", 1), thought), flaw="unclosed_title", outcome="blank", detail=NOTHING
    )


def hidden_body(html: str, thought: str, rng: random.Random) -> Broken:
    """Hides the body with CSS."""
    hiding = rng.choice((' style="display:none"', ' style="opacity:0"'))
    return Broken(
        text=answer(re.sub(r"<body\b", f"<body{hiding}", html, count=1), thought),
        flaw="hidden_body",
        outcome="blank",
        detail=NOTHING,
    )


def exception(html: str, thought: str, rng: random.Random) -> Broken:
    """The first script throws while the page loads."""
    line, detail = rng.choice(
        (
            ("initPage();", "ReferenceError: initPage is not defined"),
            ('document.querySelector("#app").focus();', "TypeError: Cannot read properties of null (reading 'focus')"),
        )
    )
    if "<script>" in html:
        bad = html.replace("<script>", f"<script>{line}", 1)
    else:
        at = html.rfind("</body>")
        bad = f"{html[:at]}<script>{line}</script>{html[at:]}"
    return Broken(text=answer(bad, thought), flaw="exception", outcome="exception", detail=detail)


def unclosed_fence(html: str, thought: str, rng: random.Random) -> Broken:
    """Omits the closing fence; in some answers the page is also cut in the middle."""
    starts = [match.start() for match in re.finditer(r"<(?:div|section|main|p|ul|/body)\b", html)]
    cut = rng.choice(starts) if starts and rng.random() < 0.3 else len(html)
    whole = answer(html[:cut], thought)
    return Broken(text=whole.replace("\n```\n" + GET_FEEDBACK, GET_FEEDBACK), flaw="unclosed_fence", outcome="no_page")


def no_fence(html: str, thought: str, rng: random.Random) -> Broken:
    """The page is written without its fences."""
    whole = answer(html, thought).replace("```html\n", "", 1).replace("\n```\n", "\n")
    return Broken(text=whole, flaw="no_fence", outcome="no_page")


def two_pages(html: str, thought: str, rng: random.Random) -> Broken:
    """Adds a second page after the first."""
    second = "\n```html\n<!DOCTYPE html>\n```\n"
    return Broken(
        text=answer(html, thought).replace("\n```\n", "\n```\n" + second, 1), flaw="two_pages", outcome="no_page"
    )


Flaw = Callable[[str, str, random.Random], Broken]

FLAWS: tuple[tuple[Flaw, float, str], ...] = (
    (unclosed_style, 0.24, "</style>"),
    (unclosed_title, 0.08, "</title>"),
    (hidden_body, 0.18, "<body"),
    (exception, 0.24, "</body>"),
    (unclosed_fence, 0.14, ""),
    (no_fence, 0.06, ""),
    (two_pages, 0.06, ""),
)
"""Each flaw, its share, and text that a page must contain for it."""


def break_page(html: str, thought: str, rng: random.Random) -> Broken:
    """Returns an answer with `html` broken by one flaw that applies to the page."""
    able = [(flaw, share) for flaw, share, needed in FLAWS if needed in html]
    (flaw,) = rng.choices([flaw for flaw, _ in able], [share for _, share in able])
    return flaw(html, thought, rng)
