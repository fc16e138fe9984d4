"""Decodes and reduces screenshots for comparison, and measures their structural similarity."""

import io
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

Array = npt.NDArray[Any]
Color = tuple[int, int, int]

COLORS = (128, 128)
"""Width and height of the picture for colour comparison."""
GREYS = (320, 240)
"""Width and height of the picture for structural comparison."""
WINDOW = 7
"""Side of the SSIM window, in pixels of the grey picture."""
FAINT_GREY = 3
"""Range of grey levels within which an area is bare."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A reduced screenshot. Padding has the screenshot's dominant colour."""

    rgb: Array
    """uint8 [128, 128, 3]."""
    colors: Array
    """float32 [N, 3]: CIELAB of the colours that occur."""
    index: Array
    """int [128, 128]: each pixel's index into `colors`. Pages have few colours, so computing per colour is faster."""
    grey: Array
    """float32 [240, 320], 0 to 255."""
    edges: Array
    """bool [240, 320]: where the SSIM window contains more than one grey."""
    canvas: Color
    """The dominant colour."""
    contrast: Array
    """float32 [128, 128]: CIEDE2000 between each pixel and the canvas."""
    tints: Array
    """float [4, 256]: cumulative shares of pixels at -128, … 127 of CIELAB along a*, b* and the two diagonals."""
    chroma: float
    """Mean distance from grey, in CIELAB."""


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, without decoding it."""
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


def decode(png: bytes) -> Array:
    """Decodes a PNG to uint8 [height, width, 3]."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def reduce(pixels: Array, size: tuple[int, int]) -> Picture:
    """Reduces a decoded picture for comparison, after padding it (without stretching) to `size`."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    if (width, height) != size:
        padded = Image.new("RGB", size, dominant(np.asarray(picture.resize(COLORS, Image.Resampling.NEAREST))))
        padded.paste(picture)
        picture = padded
    half = picture.reduce(2) if min(size) >= 2 * max(GREYS) else picture
    rgb = np.asarray(half.resize(COLORS, Image.Resampling.BOX))
    grey = np.asarray(half.convert("L").resize(GREYS, Image.Resampling.BOX))
    packed, index, counts = np.unique(_packed(rgb), return_inverse=True, return_counts=True)
    colors, canvas = lab(_unpacked(packed)), packed[counts.argmax()]
    return Picture(
        rgb=rgb,
        colors=colors,
        index=index.reshape(rgb.shape[:2]),
        grey=grey.astype(np.float32),
        edges=maximum_filter(grey, size=WINDOW) - minimum_filter(grey, size=WINDOW) > FAINT_GREY,
        canvas=_color(canvas),
        contrast=apart(colors, lab(_unpacked(canvas)))[index.reshape(rgb.shape[:2])],
        tints=_tints(colors, counts / counts.sum()),
        chroma=float(np.hypot(colors[:, 1], colors[:, 2]) @ (counts / counts.sum())),
    )


def lab(colors: Array) -> Array:
    """Converts uint8 RGB [..., 3] to CIELAB, float32 [..., 3]."""
    return np.asarray(rgb2lab(colors), dtype=np.float32)


def apart(found: Array, wanted: Array) -> Array:
    """float32 [...]: CIEDE2000 of CIELAB colours [..., 3], pairwise or against a single colour."""
    far: Array = deltaE_ciede2000(found, np.broadcast_to(wanted, found.shape))
    return far


def dominant(pixels: Array) -> Color:
    """The commonest colour of uint8 [..., 3]; black without pixels."""
    packed, counts = np.unique(_packed(pixels), return_counts=True)
    return _color(packed[counts.argmax()]) if len(packed) else (0, 0, 0)


def _tints(colors: Array, shares: Array) -> Array:
    across, up = colors[:, 1], colors[:, 2]
    levels = (across, up, (across + up) / sqrt(2), (across - up) / sqrt(2))
    places = [np.rint(level).clip(-128, 127).astype(int) + 128 for level in levels]
    return np.cumsum([np.bincount(place, weights=shares, minlength=256) for place in places], axis=1)


def _packed(pixels: Array) -> Array:
    """uint32 [N]: colours of uint8 [..., 3], packed as 0xRRGGBB."""
    levels = pixels.astype(np.uint32)
    packed: Array = (levels[..., 0] << 16) | (levels[..., 1] << 8) | levels[..., 2]
    return packed.ravel()


def _unpacked(packed: Array) -> Array:
    """Unpacks 0xRRGGBB to uint8 [..., 3]."""
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def _color(packed: int) -> Color:
    return int(packed) >> 16, int(packed) >> 8 & 255, int(packed) & 255


def structure(found: Picture, wanted: Picture) -> float:
    """Mean SSIM in [0, 1] where either picture shows an edge (Wang et al. 2004, uniform 7 x 7 window).

    Bare areas are excluded: SSIM is near 1 there for any page, which would reward empty pages.
    """
    if np.array_equal(found.grey, wanted.grey):
        return 1.0
    edges = found.edges | wanted.edges
    if not edges.any():
        return 1.0
    _, similar = structural_similarity(found.grey, wanted.grey, win_size=WINDOW, data_range=255, full=True)
    return float(np.clip(similar[edges].mean(), 0.0, 1.0))
