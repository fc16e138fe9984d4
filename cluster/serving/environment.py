"""The renderer and the critics as an environment: bodies of `POST /render` and `POST /judge`, and their answers."""

import base64
from dataclasses import dataclass
from typing import Any

from cluster.serving.limits import Limits
from cluster.serving.refusal import invalid
from cluster.serving.service import Judged
from reward.validity import complaint
from rollout.errors import TaskFileError
from rollout.records import Comparison, Page, Render, Shot, Task
from rollout.refusals import refused
from rollout.tasks import task_of

NO_BRIEF = "-"
"""Brief of a task that is only rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page to render or to judge."""

    task: Task
    page: Page
    other: Page | None
    """The page that `page` is compared with; None for a judgment of one page."""
    screenshots: bool
    """Whether the answer has the screenshots."""


def page_request(body: Any, limits: Limits, *, needs_brief: bool) -> PageRequest:
    """Parses a body: the columns of a task file (`id` is optional), and `html`, `other_html`, `screenshots`.

    Raises Refusal (400, 413) with one line that names the field.
    """
    if not isinstance(body, dict):
        raise invalid("the body is not a JSON object, wanted one with the field `html`")
    row = dict(body)
    page = _page(row.pop("html", None), "html", limits)
    other = row.pop("other_html", None)
    screenshots = row.pop("screenshots", not needs_brief)
    if not isinstance(screenshots, bool):
        raise invalid("`screenshots` is not true or false")
    _check_length(row.get("brief"), "brief", limits.brief_chars)
    _check_length(row.get("reference_html"), "reference_html", limits.html_chars, status=413)
    if not needs_brief:
        row.setdefault("brief", NO_BRIEF)
    try:
        task = task_of("request", {"id": "request", **row})
    except TaskFileError as error:
        raise invalid(str(error).removesuffix("; remove the column from the file")) from None
    second = None if other is None else _page(other, "other_html", limits)
    return PageRequest(task=task, page=page, other=second, screenshots=screenshots)


def render_answer(render: Render, *, screenshots: bool) -> dict[str, Any]:
    """The answer with a render; pictures are PNG in base64."""
    feedback = complaint(Page(html=""), render) or refused(render.blocked)
    answer = {
        "outcome": render.outcome,
        "valid": render.valid,
        "detail": render.detail,
        "feedback": [feedback] if feedback else [],
        "flags": list(render.flags),
        "title": render.title,
        "document": list(render.document),
        "console": list(render.console),
        "exceptions": list(render.exceptions),
        "blocked": list(render.blocked),
        "probes": [{"name": one.name, "verdict": one.verdict, "detail": one.detail} for one in render.probes],
        "renderer": render.renderer,
        "seconds": round(render.seconds, 3),
    }
    return answer | ({"screenshots": [_shot(shot) for shot in render.shots]} if screenshots else {})


def judged_answer(judged: Judged, *, screenshots: bool) -> dict[str, Any]:
    """The answer with a judgment: that of the render, and reward, score and feedback.

    `score` is 0 for a page that does not render validly, and its feedback is the reason.
    """
    answer = render_answer(judged.render, screenshots=screenshots)
    reward = {"reward": judged.reward.total, "gate": judged.reward.gate, "interaction": judged.reward.interaction}
    critique = judged.critique
    if critique is None:
        return answer | reward | {"score": 0.0, "parts": {}, "judge": ""}
    feedback = [*critique.feedback, *answer["feedback"]]
    parts = {name: round(value, 4) for name, value in critique.parts.items()}
    return answer | reward | {"score": critique.score, "feedback": feedback, "parts": parts, "judge": critique.judge}


def compared_answer(comparison: Comparison) -> dict[str, Any]:
    """The answer with a comparison: `html`, `other_html` or `tie`, and the answers in both orders."""
    names = {"old": "html", "new": "other_html", "tie": "tie"}
    first, second = (names[answer] for answer in comparison.answers)
    return {"preferred": first if first == second else "tie", "answers": [first, second], "judge": comparison.judge}


def _page(html: Any, name: str, limits: Limits) -> Page:
    if not isinstance(html, str):
        raise invalid(f"`{name}` is missing or no text, wanted the source of a page")
    _check_length(html, name, limits.html_chars, status=413)
    return Page(html=html)


def _check_length(text: Any, name: str, limit: int, status: int = 400) -> None:
    if isinstance(text, str) and len(text) > limit:
        raise invalid(f"`{name}` has {len(text):,} characters, wanted {limit:,} at most", status)


def _shot(shot: Shot) -> dict[str, Any]:
    return {
        "at_ms": shot.at_ms,
        "label": shot.label,
        "width": shot.width,
        "height": shot.height,
        "sha256": shot.sha256,
        "png": base64.b64encode(shot.picture).decode("ascii"),
    }
