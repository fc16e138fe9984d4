"""Whole pictures against each other: a map of colours and the structure of light and dark."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reward.visual.color import Floats, differences, lab

MAP_SIZE = (96, 72)
"""Columns and rows of the colour map: coarse, because it is the colour of areas that counts, not of letters."""
GREY_SIZE = (256, 192)
COLOR_REACH = 50.0
"""CIEDE2000 difference at which a pixel of the map is worth nothing."""
NEAR_CANVAS = 2.0
"""CIEDE2000 difference below which a pixel of the map belongs to the canvas."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is compared of one picture."""

    map: Floats
    """[rows, columns, 3] CIELAB."""
    canvas: Floats
    """[3] CIELAB of the commonest colour of the map."""
    grey: Floats
    """[rows, columns] luma, 0 to 255."""


def look(png: bytes) -> Look:
    """Decodes a PNG into what is compared of it."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        rgb = picture.convert("RGB")
    small = np.asarray(rgb.resize(MAP_SIZE, Image.Resampling.BOX), dtype=np.uint8)
    grey = np.asarray(rgb.convert("L").resize(GREY_SIZE, Image.Resampling.BOX), dtype=np.float64)
    flat = small.reshape(-1, 3)
    colors, counts = np.unique(flat, axis=0, return_counts=True)
    canvas = lab(colors[counts.argmax()].reshape(1, 1, 3))[0, 0]
    return Look(map=lab(small), canvas=canvas, grey=grey)


def color_map(found: Look, wanted: Look) -> float:
    """Half the colour of the canvas, half the colours of all that stands out from it in either picture; in [0, 1]."""
    canvas = _worth(differences(found.canvas.reshape(1, 1, 3), wanted.canvas.reshape(1, 1, 3)))
    marked = _stands_out(found) | _stands_out(wanted)
    if not marked.any():
        return float(canvas[0, 0])
    return float((canvas[0, 0] + _worth(differences(found.map[marked][None], wanted.map[marked][None])).mean()) / 2)


def structure(found: Look, wanted: Look) -> float:
    """Structural similarity (SSIM, Wang 2004) of the grey pictures, in [0, 1]."""
    from skimage.metrics import structural_similarity

    return max(0.0, float(structural_similarity(found.grey, wanted.grey, data_range=255.0)))


Rectangle = tuple[float, float, float, float]
"""x, y, width, height in CSS pixels."""
GRID = 8
"""CSS pixels to a cell of the layout grid."""
BACKDROP = 0.7
"""A box that covers more of the viewport than this is a backdrop and says nothing about layout."""


def layout(found: Sequence[Rectangle], wanted: Sequence[Rectangle], viewport: tuple[int, int]) -> float:
    """Intersection over union of the areas that are taken up, in [0, 1]; 1 where nothing is."""
    taken, needed = _taken(found, viewport), _taken(wanted, viewport)
    union = np.logical_or(taken, needed).sum()
    return float(np.logical_and(taken, needed).sum() / union) if union else 1.0


def _taken(rectangles: Sequence[Rectangle], viewport: tuple[int, int]) -> NDArray[np.bool_]:
    width, height = viewport
    cells = np.zeros((height // GRID + 1, width // GRID + 1), dtype=np.bool_)
    for x, y, w, h in rectangles:
        if w * h > BACKDROP * width * height:
            continue
        top, left = max(0, round(y / GRID)), max(0, round(x / GRID))
        cells[top : max(top + 1, round((y + h) / GRID)), left : max(left + 1, round((x + w) / GRID))] = True
    return cells


def _stands_out(one: Look) -> NDArray[np.bool_]:
    return differences(one.map, np.broadcast_to(one.canvas, one.map.shape)) > NEAR_CANVAS


def _worth(apart: Floats) -> Floats:
    return 1 - np.minimum(apart / COLOR_REACH, 1.0)
