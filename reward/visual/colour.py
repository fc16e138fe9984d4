"""How far colours are apart, as an eye sees it: CIEDE2000, of single colours and of whole pictures."""

from collections.abc import Sequence

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from reward.visual.pictures import Array, Color, Picture, contrast, dominant

FAR = 50.0
"""CIEDE2000 at which two colours have nothing in common."""
VISIBLE = 1.0
"""CIEDE2000 below which a pixel does not stand out from the canvas."""


def distances(found: Sequence[Color], wanted: Sequence[Color]) -> Array:
    """CIEDE2000 of each pair of colours, [N]."""
    if not found:
        return np.zeros(0)
    left, right = (rgb2lab(np.asarray(colors, dtype=np.uint8)[None]) for colors in (found, wanted))
    apart: Array = deltaE_ciede2000(left, right)[0]
    return apart


def distance(found: Color, wanted: Color) -> float:
    """CIEDE2000 of two colours."""
    return 0.0 if found == wanted else float(distances([found], [wanted])[0])


def color_map(found: Picture, wanted: Picture) -> float:
    """How alike two pictures are coloured, in [0, 1].

    What is drawn counts by its contrast with the canvas, so that an empty page has nothing in common with any
    other; a canvas of another colour costs up to half of it.
    """
    if np.array_equal(found.rgb, wanted.rgb):
        return 1.0
    canvas = dominant(found.rgb[wanted.contrast < VISIBLE])
    own = found.contrast if canvas == found.canvas else contrast(found.rgb, found.lab, canvas)
    scale = np.minimum(FAR, np.maximum(wanted.contrast, own))
    drawn = scale >= VISIBLE
    # A canvas half-way between ground and ink would be near to both: what does not stand out as it should is wrong too.
    gap = np.abs(np.minimum(FAR, own) - np.minimum(FAR, wanted.contrast))
    wrong = np.minimum(np.maximum(difference(found, wanted), gap), scale)
    share = float(wrong[drawn].sum() / scale[drawn].sum()) if drawn.any() else 0.0
    bare = 1.0 - min(1.0, distance(canvas, wanted.canvas) / FAR)
    return (1.0 - share) * (1.0 + bare) / 2.0


def difference(found: Picture, wanted: Picture) -> Array:
    """CIEDE2000 of each pixel, [128, 128]."""
    apart = np.zeros(found.rgb.shape[:2])
    differ = (found.rgb != wanted.rgb).any(axis=-1)
    apart[differ] = deltaE_ciede2000(found.lab[differ], wanted.lab[differ])
    return apart
