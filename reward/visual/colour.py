"""Perceptual colour differences (CIEDE2000) of single colours and of whole pictures."""

from collections.abc import Sequence
from functools import lru_cache
from math import pi

import numpy as np

from reward.visual.pictures import Array, Color, Picture, apart, dominant, lab

FAR = 50.0
"""CIEDE2000 from which two colours count as entirely different."""
PALE = 12.0
"""Mean chroma, in CIELAB, below which a page is white, grey or black with a little colour."""
VISIBLE = 1.0
"""CIEDE2000 below which a pixel does not stand out from the canvas."""


def distances(found: Sequence[Color], wanted: Sequence[Color]) -> Array:
    """CIEDE2000 of each pair of colours, [N]."""
    if not found:
        return np.zeros(0)
    return apart(*(lab(np.asarray(colors, dtype=np.uint8)) for colors in (found, wanted)))


@lru_cache(maxsize=4096)
def distance(found: Color, wanted: Color) -> float:
    """CIEDE2000 of two colours."""
    return 0.0 if found == wanted else float(distances([found], [wanted])[0])


def color_map(found: Picture, wanted: Picture) -> float:
    """Colour similarity of two pictures, pixel by pixel, in [0, 1].

    Drawn pixels are weighted by their contrast with the canvas, so an empty page resembles no other; a different canvas
    colour costs up to half.
    """
    if np.array_equal(found.rgb, wanted.rgb):
        return 1.0
    canvas = dominant(found.rgb[wanted.contrast < VISIBLE])
    own = found.contrast
    if canvas != found.canvas:
        own = apart(found.colors, lab(np.asarray(canvas, dtype=np.uint8)))[found.index]
    scale = np.minimum(FAR, np.maximum(wanted.contrast, own))
    drawn = scale >= VISIBLE
    # A canvas colour between background and ink would be near to both, so missing contrast counts as an error too.
    gap = np.abs(np.minimum(FAR, own) - np.minimum(FAR, wanted.contrast))
    wrong = np.minimum(np.maximum(difference(found, wanted), gap), scale)
    share = float(wrong[drawn].sum() / scale[drawn].sum()) if drawn.any() else 0.0
    bare = 1.0 - min(1.0, distance(canvas, wanted.canvas) / FAR)
    return (1.0 - share) * (1.0 + bare) / 2.0


def palette(found: Picture, wanted: Picture) -> float:
    """Similarity of the tints of two pictures in hue, chroma and area, in [0, 1], independent of positions.

    1 minus the distance of the two pixel distributions over the a*-b* plane (CIELAB), relative to the distance of the
    wanted one from grey, or to `PALE` if larger. It is the sliced Wasserstein distance (Rabin et al. 2011) along four
    axes, times π/2, which equals the length of a shift of all tints. A page in greys can lose little.
    """
    moved = float(np.abs(found.tints - wanted.tints).sum(axis=1).mean()) * pi / 2
    return 1.0 - min(1.0, moved / max(PALE, wanted.chroma))


def difference(found: Picture, wanted: Picture) -> Array:
    """CIEDE2000 of each pixel, float32 [128, 128]."""
    pairs, index = np.unique(found.index * len(wanted.colors) + wanted.index, return_inverse=True)
    a, b = np.divmod(pairs, len(wanted.colors))
    return apart(found.colors[a], wanted.colors[b])[index.reshape(found.index.shape)]
