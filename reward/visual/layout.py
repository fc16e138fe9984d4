"""Geometry of page elements: offsets, distances, overlaps, visible boxes and box matching."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from reward.visual.pictures import Array, Color, dominant
from rollout.records import Box

Rect = tuple[float, float, float, float]
"""Left, top, right, bottom."""

MOST_BOXES = 150
"""Maximum boxes of a page that are compared, largest first."""
SAME_BOX = 0.2
"""Minimum match value of two boxes: IoU, plus up to 0.25 each for nearness and for a twin's size."""
EDGE = 4
"""Minimum difference in levels between a visible box and its surroundings."""
LINES = np.array([0.2, 0.5, 0.8])
"""Positions of the test lines across a side, as shares of its length."""
SAMPLES = 24
"""Pixels per side that are sampled for the colour of a box."""


class Placed(Protocol):
    """Protocol of elements with a rectangle on the page."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A visible box and its colour; the colour is None beyond the picture's edge."""

    tag: str
    x: float
    y: float
    width: float
    height: float
    color: Color | None


def rect(thing: Placed) -> Rect:
    """The sides of a block or box."""
    return thing.x, thing.y, thing.x + thing.width, thing.y + thing.height


def area(sides: Rect) -> float:
    """Area in square pixels."""
    return (sides[2] - sides[0]) * (sides[3] - sides[1])


def overlap(a: Rect, b: Rect) -> float:
    """Intersection over union, in [0, 1]."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (area(a) + area(b) - across * down)


def offset(found: Rect, wanted: Rect) -> tuple[float, float]:
    """Displacement to the right and down, measured at the side or middle that moved least.

    So a text that is only longer than wanted has not moved, whatever its alignment.
    """
    return _least(found[0], found[2], wanted[0], wanted[2]), _least(found[1], found[3], wanted[1], wanted[3])


def distance(found: Rect, wanted: Rect) -> float:
    """Length of the displacement, in pixels."""
    return hypot(*offset(found, wanted))


def distances(found: Sequence[Placed], wanted: Sequence[Placed]) -> Array:
    """`distance` of every pair, [found, wanted]."""
    a, b = _sides(found)[:, None], _sides(wanted)[None]
    apart = []
    for low, high in ((0, 2), (1, 3)):
        ends = np.abs(a[..., low] - b[..., low]), np.abs(a[..., high] - b[..., high])
        middle = np.abs(a[..., low] + a[..., high] - b[..., low] - b[..., high]) / 2
        apart.append(np.minimum(middle, np.minimum(*ends)))
    far: Array = np.hypot(apart[0], apart[1])
    return far


def _overlaps(found: Sequence[Placed], wanted: Sequence[Placed]) -> Array:
    """`overlap` of every pair, [found, wanted]."""
    a, b = _sides(found)[:, None], _sides(wanted)[None]
    across = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    down = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    both = np.maximum(across, 0) * np.maximum(down, 0)
    whole = [(sides[..., 2] - sides[..., 0]) * (sides[..., 3] - sides[..., 1]) for sides in (a, b)]
    shared: Array = both / (whole[0] + whole[1] - both)
    return shared


def _sides(things: Sequence[Placed]) -> Array:
    return np.array([rect(thing) for thing in things])


def visible(boxes: Sequence[Box], pixels: Array) -> list[Area]:
    """The boxes that stand out from their surroundings; boxes that extend beyond the picture count as visible."""
    if not boxes:
        return []
    height, width = pixels.shape[:2]
    sides = np.rint(_sides(boxes)).astype(int)
    seen = (sides[:, 2] > width) | (sides[:, 3] > height) | _stand_out(sides, pixels)
    kept = [(box, corners) for box, corners, show in zip(boxes, sides, seen, strict=True) if show]
    kept.sort(key=lambda pair: -pair[0].width * pair[0].height)
    return [
        Area(tag=box.tag, x=box.x, y=box.y, width=box.width, height=box.height, color=_fill(corners, pixels))
        for box, corners in kept[:MOST_BOXES]
    ]


def match_boxes(found: Sequence[Area], wanted: Sequence[Area], scale: float) -> list[tuple[int, int]]:
    """Matches boxes; returns pairs of indices (found, wanted)."""
    if not found or not wanted:
        return []
    sizes = [np.array([area(rect(box)) for box in boxes]) for boxes in (found, wanted)]
    size = np.minimum.outer(*sizes) / np.maximum.outer(*sizes)
    near = size * np.exp(-distances(found, wanted) / scale)
    tags = (np.array([box.tag for box in boxes]) for boxes in (found, wanted))
    twins = np.equal.outer(*tags) * size**2
    same = _overlaps(found, wanted) + 0.25 * near + 0.25 * twins
    rows, columns = linear_sum_assignment(-same)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if same[i, j] >= SAME_BOX]


def overlaps(pairs: Sequence[tuple[Rect, Rect]], rest: Sequence[Rect], worth: Sequence[float]) -> float:
    """Mean IoU of matched things in [0, 1], weighted by the root of their areas.

    Each pair is multiplied by its `worth`, in [0, 1]; unmatched things count 0.
    """
    weight = sum(_weight(a) + _weight(b) for a, b in pairs) + sum(map(_weight, rest))
    if not weight:
        return 1.0
    kept = [overlap(a, b) * part for (a, b), part in zip(pairs, worth, strict=True)]
    lost = sum((_weight(a) + _weight(b)) * (1.0 - part) for (a, b), part in zip(pairs, kept, strict=True))
    lost += sum(map(_weight, rest))
    return 1.0 - lost / weight


def _weight(sides: Rect) -> float:
    return sqrt(area(sides))


def _least(low: float, high: float, wanted_low: float, wanted_high: float) -> float:
    middle = (low + high - wanted_low - wanted_high) / 2
    return min((middle, low - wanted_low, high - wanted_high), key=abs)


def _fill(sides: Array, pixels: Array) -> Color | None:
    """The commonest colour of a box; None beyond the picture."""
    left, top, right, bottom = np.maximum(0, sides)
    inside = pixels[top:bottom, left:right]
    if not inside.size:
        return None
    return dominant(inside[:: 1 + inside.shape[0] // SAMPLES, :: 1 + inside.shape[1] // SAMPLES])


def _stand_out(sides: Array, pixels: Array) -> Array:
    """bool [N]: whether any side of a box, int [N, 4], is a visible edge.

    Three lines across each side are tested, from 3 px outside to 2 px inside.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = sides.T[..., None]
    x, y = (np.rint(low + LINES * (high - low - 1)).astype(int) for low, high in ((left, right), (top, bottom)))
    across, down = np.hstack([left, right + 1]), np.hstack([top, bottom + 1])
    beside = _edges(pixels, y, across) & (y >= 0)[..., None] & (y < height)[..., None]
    above = _edges(pixels.transpose(1, 0, 2), x, down) & (x >= 0)[..., None] & (x < width)[..., None]
    seen: Array = (beside | above).any(axis=(1, 2))
    return seen


def _edges(pixels: Array, rows: Array, ends: Array) -> Array:
    """bool [N, 3, 2]: whether pixels differ in rows, [N, 3], around places in them, [N, 2]; False near the margin."""
    height, width = pixels.shape[:2]
    places = ends[:, None, :, None] + np.arange(-3, 2)
    lines = pixels[rows.clip(0, height - 1)[..., None, None], places.clip(0, width - 1)]
    differ = (lines.max(axis=3) - lines.min(axis=3)).max(axis=-1) >= EDGE
    inside: Array = differ & ((ends >= 3) & (ends <= width - 2))[:, None]
    return inside
