"""Validity of pages: detects blank renders, and writes the complaints that the policy receives about invalid pages."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rollout.records import Outcome, Page, Render, Shot
from rollout.refusals import refused

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

VISIBLE_LEVELS = 8
"""Smallest difference in a colour channel that separates a colour from the background: 2.2 to 2.8 in CIELAB for two
greys, about one just noticeable difference."""
SPOT = 16
"""Side in pixels of a square that holds a letter of small print or a piece of a line."""
LEAST_PIXELS = 8
"""Pixels of a spot that must differ from the background: half of a hairline, a third of a letter `i`."""
SAMPLE = 8
"""Every n-th row determines the background colour, and these rows are checked first."""
MAX_DETAIL = 240

PROBLEMS = {
    "no_fence": "there is no ```html block",
    "unclosed_fence": "the ```html block is never closed",
    "two_pages": "there is more than one ```html block",
    "empty_page": "the ```html block is empty",
    "no_edit": "there is no SEARCH and REPLACE block",
    "page_and_edits": "there are SEARCH and REPLACE blocks and an ```html block, write only one of them",
}
"""Words for the problems of a page; other problems of edits are told by the page's `detail`."""

SENTENCES: dict[Outcome, str] = {
    "ok": "",
    "no_page": "No page could be read from the answer",
    "blank": "The page is blank",
    "exception": "The page throws an exception while it loads",
    "timeout": "The page does not come to rest in the time it is given",
    "crash": "The page crashes the browser's renderer",
    "too_large": "The page is too large to be rendered",
    "too_heavy": "The page is too heavy to draw",
    "blocked_navigation": "The page navigates away from itself",
}
"""One sentence per outcome, as the policy receives it; `complaint` adds the detail."""


def complaint(page: Page, render: Render | None) -> str:
    """Complaint about a page that gets no reward; empty for a page that renders validly."""
    if render is None:
        detail = page.detail or PROBLEMS.get(page.problem, page.problem)
        return _sentence("no_page", detail)
    said = _sentence(render.outcome, render.detail)
    return f"{said} {refused(render.blocked)}".rstrip() if said else ""


def blank_detail(shots: Sequence[Shot], blank: Sequence[bool]) -> str:
    """The reason that a render is blank; empty if it is not. `blank` has `is_blank` of each timed picture in `shots`.

    The last picture decides: a page may fade in or start with a splash screen, but it must not vanish.
    """
    if not blank or not blank[-1]:
        return ""
    if all(blank):
        return "no screenshot shows anything"
    shown = max(shot.at_ms for shot, nothing in zip(shots, blank, strict=True) if not nothing)
    return f"what the screenshot at {shown} ms shows is gone in the last one, at {shots[-1].at_ms} ms"


def is_blank(png: bytes) -> bool:
    """Whether a picture shows nothing visible: no text, line or colour stands out from the background.

    A page is visible if at least `LEAST_PIXELS` pixels within one spot differ from the commonest colour by
    `VISIBLE_LEVELS`, on any share of the screen. Stray pixels, dust and faint noise stay below these limits.
    """
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    rows = picture.resize((width, max(1, height // SAMPLE)), Image.Resampling.NEAREST)
    colors = rows.getcolors(rows.width * rows.height) or []
    _, ground = max(colors, key=lambda pair: pair[0])
    return not (_shows(rows, ground, tall=1) or _shows(picture, ground, tall=SPOT))


def _shows(picture: "Image.Image", ground: Any, *, tall: int) -> bool:
    """Whether enough pixels stand out in any spot that is `tall` rows high. Spots overlap by half."""
    import numpy as np
    from PIL import Image, ImageChops

    apart = ImageChops.difference(picture, Image.new("RGB", picture.size, ground))
    red, green, blue = apart.split()
    stands = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue)) >= VISIBLE_LEVELS
    counts = _halves(_halves(stands, 1, SPOT // 2), 0, max(1, tall // 2))
    for axis in (0, 1) if tall > 1 else (1,):
        counts = _neighbours(counts, axis)
    return bool(counts.max() >= LEAST_PIXELS)


def _halves(counts: "npt.NDArray[Any]", axis: int, size: int) -> "npt.NDArray[Any]":
    """Sums of `size` neighbours along an axis; the last group may have fewer."""
    import numpy as np

    summed: npt.NDArray[Any] = np.add.reduceat(counts, range(0, counts.shape[axis], size), axis=axis, dtype=np.int32)
    return summed


def _neighbours(counts: "npt.NDArray[Any]", axis: int) -> "npt.NDArray[Any]":
    """Sums of adjacent pairs along an axis; a single entry is returned unchanged."""
    import numpy as np

    first, second = (np.take(counts, at, axis) for at in (range(counts.shape[axis] - 1), range(1, counts.shape[axis])))
    return first + second if counts.shape[axis] > 1 else counts


def _sentence(outcome: Outcome, detail: str) -> str:
    said = SENTENCES[outcome]
    if not said:
        return ""
    detail = " ".join(detail.split())[:MAX_DETAIL].rstrip(".")
    return f"{said}: {detail}." if detail and ":" not in said else f"{said}."
