"""Text visibility checks: texts of the document count only if the pictures show them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d

from reward.visual.layout import Rect, overlap, rect
from reward.visual.pictures import Array, dominant
from rollout.records import Box, TextBlock

FLAT = 16
"""Colour levels by which pixels must differ to be readable; smaller differences count as one colour."""
TINY = 6.0
"""Minimum readable height in pixels, of the font and of the text's box."""
NARROW = 12.0
"""Minimum area per letter, in square pixels."""
MOSTLY = 0.6
"""Share of a text's area in the text's own colour from which that colour is the background and the text invisible."""
PICTURES = frozenset({"img", "canvas", "svg", "video", "iframe"})
"""Elements whose pixels are not the document's text, even if text lies on them."""
DRAWN = frozenset({"text", "tspan", "textpath"})
"""Elements inside pictures that are text themselves."""
SAME = 0.5
"""IoU from which two pictures count as the same."""
TALL, WIDE = 16, 8
"""Size of an ink profile: rows, and columns per letter."""
WIDEST = 256
GAUSSIAN = np.exp(-(np.arange(-4, 5) ** 2) / 2) / np.exp(-(np.arange(-4, 5) ** 2) / 2).sum()
"""Gaussian kernel with a standard deviation of one pixel."""
ALIKE = 0.1
"""Minimum correlation of the ink profiles of the same text; unrelated patterns stay within ±0.1."""
LETTERS = 1
"""Minimum alphanumeric characters of a text with an ink profile."""
SAME_LINES = 1.3
"""Maximum ratio of heights, in lines, at which two ink profiles can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InkProfile:
    """Ink profile of a text's area on a picture: the difference of each pixel from the background of its row."""

    relief: Array
    """float32 [16, 8 per letter, at most 256], smoothed (Gaussian, 1 pixel), each row minus its mean."""
    lines: float
    """Height in font sizes."""
    strokes: int
    """Largest difference in levels of a pixel from the mean of its row; 0 for horizontal stripes."""


def readable(blocks: Sequence[TextBlock], pixels: Array) -> list[TextBlock]:
    """The texts that are readable on the picture; texts beyond its edge are checked by their styles."""
    return [block for block in blocks if is_readable(block, pixels)]


def is_readable(block: TextBlock, pixels: Array) -> bool:
    """Whether a text is large enough, has contrast, and its colour occurs in its area of the picture."""
    letters = max(1, len(block.text))
    if min(block.height, block.font_px) < TINY or block.width * block.height < NARROW * letters:
        return False
    crop = _crop(block, pixels)
    if is_beyond(block, pixels):
        return _apart(block.color, block.background) >= FLAT
    if max(int(level.max()) - int(level.min()) for level in _channels(crop)) < FLAT:
        return False
    if not any(letter.isalnum() for letter in block.text):
        return True  # signs and emoji may have colours of their own
    near = _farthest(crop, np.array(block.color, dtype=np.uint8))
    contrast = _apart(block.color, dominant(crop))
    if contrast < FLAT:
        return float(np.mean(near < FLAT)) < MOSTLY
    return 2 * int(near.min()) < contrast


def is_steady(block: TextBlock, pixels: Array, last: Array) -> bool:
    """Whether a text that is readable on the picture `last` is also readable on `pixels`."""
    return np.array_equal(_crop(block, pixels), _crop(block, last)) or is_readable(block, pixels)


def is_beyond(block: TextBlock, pixels: Array) -> bool:
    """Whether most of a text lies outside the picture."""
    crop = _crop(block, pixels)
    return bool(2 * crop.shape[0] * crop.shape[1] < block.width * block.height)


def mark(block: TextBlock, pixels: Array) -> InkProfile | None:
    """Ink profile of a text; None if it extends beyond the picture's edge, or is too short."""
    crop = _crop(block, pixels)
    sides = rect(block)
    if sum(map(str.isalnum, block.text)) < LETTERS or not crop.size or _outside(sides, pixels):
        return None
    # The background of a row is its median: it may differ between rows, for a text across an edge.
    middle = crop.shape[1] // 2
    apart = _farthest(crop, np.partition(crop, middle, axis=1)[:, middle : middle + 1])
    size = min(WIDEST, WIDE * len(block.text)), TALL
    shape = np.asarray(Image.fromarray(apart).resize(size, Image.Resampling.BOX))
    mean = apart.mean(axis=1)
    strokes = int(max((apart.max(axis=1) - mean).max(), (mean - apart.min(axis=1)).max()))
    return InkProfile(relief=_relief(shape), lines=block.height / max(1.0, block.font_px), strokes=strokes)


def shows(found: InkProfile | None, wanted: InkProfile | None) -> bool:
    """Whether an ink profile matches that of the same text on the reference; True if they cannot be compared.

    Profiles are smoothed, stripped of row means and correlated. A text in another size, colour or weight keeps most of
    its correlation; an object that covers its area has none.
    """
    if found is None or wanted is None or wanted.strokes < FLAT:
        return True
    if found.strokes < FLAT:
        return False
    low, high = sorted((found.lines, wanted.lines))
    if high > SAME_LINES * low or found.relief.shape != wanted.relief.shape:
        return True
    a, b = found.relief, wanted.relief
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return scale == 0.0 or float((a * b).sum()) >= ALIKE * scale


def buried(found: Sequence[TextBlock], boxes: Sequence[Box], wanted: Sequence[Box], *, rasters: bool) -> set[int]:
    """Indices of the texts on pictures that the reference does not have; such texts are not counted.

    `boxes` and `wanted`: all boxes of the page and of its reference, visible or not. `rasters`: the source contains
    images that the reference's does not, so any box may be a picture; without extra boxes the whole page counts as one.
    """
    own = [box for box in boxes if rasters or box.tag in PICTURES]
    extra = [rect(box) for box in own if not any(_same(box, other) for other in wanted)]
    if rasters and not extra:
        return set(range(len(found)))
    return {
        i
        for i, block in enumerate(found)
        if block.tag not in DRAWN and any(_within(rect(block), picture) for picture in extra)
    }


def _farthest(pixels: Array, colors: Array) -> Array:
    """uint8 [...]: largest difference over the channels between pixels, uint8 [..., 3], and colours."""
    pairs = zip(_channels(pixels), _channels(colors), strict=True)
    red, green, blue = (np.maximum(level, other) - np.minimum(level, other) for level, other in pairs)
    farthest: Array = np.maximum(np.maximum(red, green), blue)
    return farthest


def _channels(pixels: Array) -> tuple[Array, Array, Array]:
    """Red, green and blue channels of [..., 3]; separate because numpy is slow along an axis of length three."""
    return pixels[..., 0], pixels[..., 1], pixels[..., 2]


def _same(box: Box, other: Box) -> bool:
    return box.tag == other.tag and overlap(rect(box), rect(other)) >= SAME


def _relief(shape: Array) -> Array:
    smooth = correlate1d(correlate1d(shape.astype(np.float32), GAUSSIAN, axis=0), GAUSSIAN, axis=1)
    relief: Array = smooth - smooth.mean(axis=1, keepdims=True)
    return relief


def _crop(block: TextBlock, pixels: Array) -> Array:
    left, top, right, bottom = (round(side) for side in rect(block))
    return pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def _outside(sides: Rect, pixels: Array) -> bool:
    left, top, right, bottom = (round(side) for side in sides)
    return left < 0 or top < 0 or right > pixels.shape[1] or bottom > pixels.shape[0]


def _within(inner: Rect, outer: Rect) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _apart(a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))
