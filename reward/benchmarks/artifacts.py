"""ArtifactsBench (arXiv 2507.04952): the page in an answer, the question to the judge, and its judgment.

`faithful` follows the public code at commit fcf0368; the wording of the question is ours in both modes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reward.multimodal.answer import read_object
from rollout.errors import AnswerFault

FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
DOCUMENT = re.compile(r"<html\b.*?</html\s*>", re.DOTALL | re.IGNORECASE)
DRAWING = re.compile(r"<svg\b.*?</svg\s*>", re.DOTALL | re.IGNORECASE)
STYLE_LINK = re.compile(r"<link\b[^>]*\bhref=[\"'](?!https?:|//)[^\"']+\.css[\"'][^>]*>", re.IGNORECASE)
SCRIPT_LINK = re.compile(r"<script\b[^>]*\bsrc=[\"'](?!https?:|//)[^\"']+\.js[\"'][^>]*>\s*</script>", re.IGNORECASE)
OVERALL = re.compile(r'"Overall Score":\s*"?(\d+(?:\.\d+)?)"?')
SCRIPTS = frozenset({"js", "javascript"})
OTHER_STACKS = re.compile(
    r"\b(vue|react|mini[- ]?program|java|android|python|streamlit|flutter|swift)\b", re.IGNORECASE
)
"""Stacks that are not a web page without a build; a question that names one is left out of the web subset."""
LONGEST = 108_000
"""Characters of an answer that the judge reads: the 27,000 tokens of the public code, four characters each."""


def page_of(text: str, *, faithful: bool) -> str | None:
    """The page in an answer; None if there is none.

    Default: the last whole document, else the last drawing in a page of its own; all style and script blocks are put
    into it. Faithful: the first html block, with styles and scripts where it links them, else the last document.
    """
    said = text.rpartition("</think>")[2]
    fences = [(name.lower(), content) for name, content in FENCE.findall(said)]
    styles = "\n".join(content for name, content in fences if name == "css")
    scripts = "\n".join(content for name, content in fences if name in SCRIPTS)
    pages = [content for name, content in fences if name in ("html", "htm")]
    documents = DOCUMENT.findall(said)
    if faithful:
        page = pages[0] if pages else documents[-1] if documents else None
        return page and SCRIPT_LINK.sub(
            lambda _: f"<script>{scripts}</script>", STYLE_LINK.sub(lambda _: f"<style>{styles}</style>", page)
        )
    whole = [page for page in pages if DOCUMENT.search(page)] or documents or pages
    drawings = DRAWING.findall(said)
    if not whole and not drawings:
        return None
    page = whole[-1] if whole else f"<!DOCTYPE html><html><body>{drawings[-1]}</body></html>"
    page = _before(page, "</head>", styles and f"<style>\n{styles}\n</style>")
    return _before(page, "</body>", scripts and f"<script>\n{scripts}\n</script>")


def cut(text: str, *, faithful: bool) -> str:
    """An answer as the judge reads it: a long one without its middle, or, faithful, without its end."""
    if len(text) <= LONGEST:
        return text
    if faithful:
        return text[:LONGEST]
    half = LONGEST // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters are left out …]\n{text[-half:]}"


def messages(
    question: str, checklist: Sequence[Mapping[str, Any]], answer: str, pictures: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The question to the judge. `pictures` are captions with data addresses."""
    criteria = [{name: one[name] for name in ("title", "description", "maxScore")} for one in checklist]
    words = (
        "Judge an answer to a front-end task. Be strict: full marks are for work in which you find no fault.\n\n"
        f"Task:\n{question}\n\nCriteria:\n{json.dumps(criteria, ensure_ascii=False, indent=1)}\n\n"
        f"Answer:\n-----\n{answer}\n-----\n\n"
        "The page in the answer was rendered; its screenshots follow. If there is none, it could not be rendered.\n"
        'Answer with one JSON object: "reasons" (a sentence for each criterion), "criteria" (the score of each '
        'criterion, in order, from 0 to its maxScore), "Overall Score" (their sum).'
    )
    content: list[dict[str, Any]] = [{"type": "text", "text": words}]
    for caption, address in pictures:
        content += [{"type": "text", "text": caption}, {"type": "image_url", "image_url": {"url": address}}]
    return [{"role": "user", "content": content}]


def schema(num: int) -> dict[str, Any]:
    """JSON schema of a judgment with `num` criteria."""
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": num, "maxItems": num}
    properties = {
        "reasons": {"type": "array", "items": {"type": "string"}},
        "criteria": numbers,
        "Overall Score": {"type": "number"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read(text: str, maxima: Sequence[float], *, faithful: bool) -> float:
    """The score of a judgment in [0, 1]: the criteria's sum or, faithful, the overall score that the judge states.

    Raises AnswerFault for an unreadable judgment.
    """
    if faithful:
        found = OVERALL.findall(text)
        if not found:
            raise AnswerFault("the judgment states no Overall Score")
        return min(1.0, float(found[-1]) / sum(maxima))
    scores = read_object(text, "criteria")["criteria"]
    if not isinstance(scores, list) or len(scores) != len(maxima):
        raise AnswerFault(
            f"the judgment has {len(scores) if isinstance(scores, list) else 'no'} criteria of {len(maxima)}"
        )
    for number, (score, most) in enumerate(zip(scores, maxima, strict=True), start=1):
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= most:
            raise AnswerFault(f"criterion {number} has the score {score!r}, wanted a number from 0 to {most:g}")
    return float(sum(scores)) / sum(maxima)


def is_web(question: str) -> bool:
    """Whether a question asks for a web page, as far as keywords tell."""
    return OTHER_STACKS.search(question) is None


def _before(page: str, tag: str, part: str) -> str:
    """Inserts a part before the last occurrence of a tag, or at the end."""
    if not part:
        return page
    place = page.lower().rfind(tag)
    return page + part if place < 0 else page[:place] + part + page[place:]
