"""Which pages may earn a reward at all, and what the policy is told of those that may not."""

import io
from math import ceil
from typing import TYPE_CHECKING

from rollout.records import Outcome, Page, Render

if TYPE_CHECKING:
    from PIL import Image

BLANK_SHARE = 0.005
"""A picture is blank when fewer of its pixels than this differ from its own dominant colour."""
SAMPLE = 8
"""One row in so many is looked at first."""
MAX_DETAIL = 240

PROBLEMS = {
    "no_fence": "there is no ```html block",
    "unclosed_fence": "the ```html block is never closed",
    "two_pages": "there is more than one ```html block",
    "empty_page": "the ```html block is empty",
}

SENTENCES: dict[Outcome, str] = {
    "ok": "",
    "no_page": "No page could be read from the answer",
    "blank": "The page is blank: nothing of it can be seen",
    "exception": "The page throws an exception while it loads",
    "timeout": "The page does not come to rest in the time it is given",
    "crash": "The page crashes the browser's renderer",
    "too_large": "The page is too large to be rendered",
    "too_heavy": "The page is too heavy to draw",
    "blocked_navigation": "The page navigates away from itself",
}
"""One sentence an outcome, as the policy is shown it; `complaint` adds the detail."""


def complaint(page: Page, render: Render | None) -> str:
    """The sentence for a page that earns nothing; empty for one that renders validly."""
    if render is None:
        detail = PROBLEMS.get(page.problem, page.problem)
        return _sentence("no_page", detail)
    return _sentence(render.outcome, render.detail)


def is_blank(png: bytes) -> bool:
    """Whether fewer of a picture's pixels than half a percent differ from its dominant colour."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        picture = opened if opened.mode == "RGB" else opened.convert("RGBA")
        width, height = picture.size
        least = ceil(BLANK_SHARE * width * height)
        # Where a part of the rows differs by so many pixels, so does the whole: most pictures need no second look.
        rows = picture.resize((width, max(1, height // SAMPLE)), Image.Resampling.NEAREST)
        return _apart(rows, least) < least and _apart(picture, least) < least


def _apart(picture: "Image.Image", most: int) -> int:
    """How many pixels differ from the dominant colour, at most `most`: as many as there are colours beside it."""
    colors = picture.getcolors(most)
    if colors is None:
        return most
    return min(most, picture.width * picture.height - max(count for count, _ in colors))


def _sentence(outcome: Outcome, detail: str) -> str:
    said = SENTENCES[outcome]
    if not said:
        return ""
    detail = " ".join(detail.split())[:MAX_DETAIL].rstrip(".")
    return f"{said}: {detail}." if detail and ":" not in said else f"{said}."
