"""Places and sizes: how far things are from where they belong, how they overlap, and which box is which."""

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
"""The largest boxes of a page are compared."""
SAME_BOX = 0.2
"""Below this, two boxes are not the same box gone wrong: IoU, plus up to 0.25 each for nearness and a twin's size."""
EDGE = 4
"""Levels by which a box must stand out from what is around it to be seen."""
SAMPLES = 24
"""Pixels a side that tell the colour of a box."""


class Placed(Protocol):
    """Anything with a place on a page."""

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
    """A box that can be seen, and its colour; None beyond the picture's edge, where nobody looked."""

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
    """Square pixels."""
    return (sides[2] - sides[0]) * (sides[3] - sides[1])


def overlap(a: Rect, b: Rect) -> float:
    """Intersection over union, in [0, 1]."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (area(a) + area(b) - across * down)


def offset(found: Rect, wanted: Rect) -> tuple[float, float]:
    """How far right and down a thing is of its place, by the side or middle that moved least.

    A text that is longer than it should be has not moved, whichever way it is aligned.
    """
    return _least(found[0], found[2], wanted[0], wanted[2]), _least(found[1], found[3], wanted[1], wanted[3])


def distance(found: Rect, wanted: Rect) -> float:
    """Pixels between a thing and its place."""
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
    """The boxes that stand out from what is around them; those that reach beyond the picture are believed."""
    seen = [_look(box, pixels) for box in boxes]
    return sorted((box for box in seen if box is not None), key=lambda box: -box.width * box.height)[:MOST_BOXES]


def match_boxes(found: Sequence[Area], wanted: Sequence[Area], scale: float) -> list[tuple[int, int]]:
    """Which found box is which wanted one."""
    if not found or not wanted:
        return []
    sizes = [np.array([area(rect(box)) for box in boxes]) for boxes in (found, wanted)]
    size = np.minimum.outer(*sizes) / np.maximum.outer(*sizes)
    near = size * np.exp(-distances(found, wanted) / scale)
    twins = np.array([[a.tag == b.tag for b in wanted] for a in found]) * size**2
    same = _overlaps(found, wanted) + 0.25 * near + 0.25 * twins
    rows, columns = linear_sum_assignment(-same)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if same[i, j] >= SAME_BOX]


def overlaps(pairs: Sequence[tuple[Rect, Rect]], rest: Sequence[Rect], worth: Sequence[float]) -> float:
    """Mean IoU of matched things in [0, 1], each thing weighing the root of its area.

    Each pair counts what it is worth, in [0, 1]; unmatched things count 0.
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


def _look(box: Box, pixels: Array) -> Area | None:
    height, width = pixels.shape[:2]
    left, top, right, bottom = (round(side) for side in rect(box))
    color = None
    inside = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if inside.size:
        color = dominant(inside[:: 1 + inside.shape[0] // SAMPLES, :: 1 + inside.shape[1] // SAMPLES])
    if right <= width and bottom <= height and not _stands_out((left, top, right, bottom), pixels):
        return None
    return Area(tag=box.tag, x=box.x, y=box.y, width=box.width, height=box.height, color=color)


def _stands_out(sides: tuple[int, int, int, int], pixels: Array) -> bool:
    """Whether any side of a box is a visible edge: on a line across it, from 3 px outside to 2 px inside."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = sides
    for share in (0.2, 0.5, 0.8):
        x, y = round(left + share * (right - left - 1)), round(top + share * (bottom - top - 1))
        lines = []
        if 0 <= y < height:
            lines += [pixels[y, at - 3 : at + 2] for at in (left, right + 1) if 3 <= at <= width - 2]
        if 0 <= x < width:
            lines += [pixels[at - 3 : at + 2, x] for at in (top, bottom + 1) if 3 <= at <= height - 2]
        if any(int(np.ptp(line.astype(np.int16), axis=0).max()) >= EDGE for line in lines):
            return True
    return False
