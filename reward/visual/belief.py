"""Which texts of a page are to be believed: what a document holds earns nothing that its pictures do not show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d

from reward.visual.layout import Rect, overlap, rect
from reward.visual.pictures import Array, dominant
from rollout.records import Box, TextBlock

FLAT = 16
"""Levels by which pixels must differ for an eye to read by: less is one colour."""
TINY = 6.0
"""Pixels of height, of the font or of its box, below which nobody reads."""
NARROW = 12.0
"""Square pixels a letter needs."""
MOSTLY = 0.6
"""Share of a text's area above which its own colour is the ground, and nothing is written on it."""
PICTURES = frozenset({"img", "canvas", "svg", "video", "iframe"})
"""Elements whose pixels are not the document's text, whatever text lies with them."""
DRAWN = frozenset({"text", "tspan", "textpath"})
"""Elements of a picture that are text themselves."""
SAME = 0.5
"""IoU from which two pictures are the same one."""
TALL, WIDE = 16, 8
"""Size of a mark: rows, and columns a letter."""
WIDEST = 256
GAUSSIAN = np.exp(-(np.arange(-4, 5) ** 2) / 2) / np.exp(-(np.arange(-4, 5) ** 2) / 2).sum()
"""A Gaussian of one pixel."""
ALIKE = 0.1
"""Correlation of two marks below which one does not show what the other does; unrelated patterns stay within ±0.1."""
LETTERS = 1
"""Letters a text needs for its mark to tell."""
SAME_LINES = 1.3
"""Ratio of heights, in lines, up to which two marks can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InkProfile:
    """What the picture shows where a text is said to be: how far each pixel is from the ground of its row."""

    relief: Array
    """float32 [16, 8 a letter, at most 256], smoothed (Gaussian, 1 pixel), each row without its mean."""
    lines: float
    """Height in font sizes."""
    strokes: int
    """Levels by which any pixel differs from the mean of its row: stripes have none."""


def readable(blocks: Sequence[TextBlock], pixels: Array) -> list[TextBlock]:
    """The blocks that a reader of the picture can read; below its edge, those that are set to be readable."""
    return [block for block in blocks if is_readable(block, pixels)]


def is_readable(block: TextBlock, pixels: Array) -> bool:
    """Whether a text is large enough, stands out from its ground, and has left its colour on the picture."""
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
    """Whether a picture shows a text that can be read on the last one."""
    return np.array_equal(_crop(block, pixels), _crop(block, last)) or is_readable(block, pixels)


def is_beyond(block: TextBlock, pixels: Array) -> bool:
    """Whether most of a text lies outside the picture, where nobody looked."""
    crop = _crop(block, pixels)
    return bool(2 * crop.shape[0] * crop.shape[1] < block.width * block.height)


def mark(block: TextBlock, pixels: Array) -> InkProfile | None:
    """The mark a text leaves on the picture; None where it reaches beyond the edge, or is too short to tell."""
    crop = _crop(block, pixels)
    sides = rect(block)
    if sum(map(str.isalnum, block.text)) < LETTERS or not crop.size or _outside(sides, pixels):
        return None
    # A row's ground is its median: the ground may change from row to row, where a text hangs over an edge.
    middle = crop.shape[1] // 2
    apart = _farthest(crop, np.partition(crop, middle, axis=1)[:, middle : middle + 1])
    size = min(WIDEST, WIDE * len(block.text)), TALL
    shape = np.asarray(Image.fromarray(apart).resize(size, Image.Resampling.BOX))
    mean = apart.mean(axis=1)
    strokes = int(max((apart.max(axis=1) - mean).max(), (mean - apart.min(axis=1)).max()))
    return InkProfile(relief=_relief(shape), lines=block.height / max(1.0, block.font_px), strokes=strokes)


def shows(found: InkProfile | None, wanted: InkProfile | None) -> bool:
    """Whether a mark may be the writing that the same text left on its reference; True where nobody can tell.

    Marks are correlated, smoothed and without stripes (each row's mean). A text keeps most of its correlation in
    another size, colour or weight; something that merely covers its place has none.
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
    """Which texts lie with a picture that the reference does not have: the picture shows, not the text.

    `boxes` and `wanted` are all those of the page and of its reference, seen or not. `rasters`: the page's source
    holds pictures that its reference's does not, so any area may be one, and where there is none the whole page is.
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
    """uint8 [...]: by how many levels pixels, uint8 [..., 3], differ from colours in the channel that differs most."""
    pairs = zip(_channels(pixels), _channels(colors), strict=True)
    red, green, blue = (np.maximum(level, other) - np.minimum(level, other) for level, other in pairs)
    farthest: Array = np.maximum(np.maximum(red, green), blue)
    return farthest


def _channels(pixels: Array) -> tuple[Array, Array, Array]:
    """Reds, greens and blues of [..., 3]: numpy is slow along an axis of three."""
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
