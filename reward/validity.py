"""Which pages may earn a reward at all, and what the policy is told of those that may not."""

import io

from rollout.records import Outcome, Page, Render

BLANK_SHARE = 0.005
"""A picture is blank when fewer of its pixels than this differ from its own dominant colour."""
SAMPLE = 97
"""Every so-manieth pixel is looked at to guess the dominant colour; a guess that covers half the picture is it."""
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
    "blocked_navigation": "The page navigates away from itself",
}
"""One sentence an outcome, as the policy is shown it; `complaint` adds the detail."""


def complaint(page: Page, render: Render | None) -> str:
    """The sentence for a page that earns nothing; empty for one that renders validly."""
    if render is None:
        detail = PROBLEMS.get(page.problem, page.problem)
        return _sentence("no_page", detail)
    return _sentence(render.outcome, render.detail)


def blank_share(png: bytes) -> float:
    """Share of a picture's pixels, in [0, 1], that differ from its dominant colour."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.ascontiguousarray(picture.convert("RGBA")).view(np.uint32).ravel()
    values, counts = np.unique(pixels[::SAMPLE], return_counts=True)
    most = int(np.count_nonzero(pixels == values[counts.argmax()]))
    if 2 * most <= pixels.size:
        # The sample's favourite may not be the picture's; sorting all pixels settles it.
        most = int(np.unique(pixels, return_counts=True)[1].max())
    return 1.0 - most / pixels.size


def is_blank(share: float) -> bool:
    """Whether a `blank_share` is too small for a page that shows something."""
    return share < BLANK_SHARE


def _sentence(outcome: Outcome, detail: str) -> str:
    said = SENTENCES[outcome]
    if not said:
        return ""
    detail = " ".join(detail.split())[:MAX_DETAIL].rstrip(".")
    return f"{said}: {detail}." if detail and ":" not in said else f"{said}."
