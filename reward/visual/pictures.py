"""Screenshots, made small enough to compare, and how alike two of them are built."""

import io
from dataclasses import dataclass
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
"""Width and height of the picture that colours are compared on."""
GREYS = (320, 240)
"""Width and height of the picture that structure is compared on."""
WINDOW = 7
"""Side of the window of SSIM, in pixels of the grey picture."""
FAINT_GREY = 3
"""Grey levels within which an area is bare."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One screenshot, reduced. Pixels that only padding made are the picture's own canvas."""

    rgb: Array
    """uint8 [128, 128, 3]."""
    lab: Array
    """float32 [128, 128, 3], CIELAB."""
    grey: Array
    """float32 [240, 320], 0 to 255."""
    edges: Array
    """bool [240, 320]: where the window of SSIM sees more than one grey."""
    canvas: Color
    """The dominant colour."""
    contrast: Array
    """float [128, 128]: CIEDE2000 of each pixel and the canvas."""


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, without decoding it."""
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


def decode(png: bytes) -> Array:
    """uint8 [height, width, 3]."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def reduce(pixels: Array, size: tuple[int, int]) -> Picture:
    """A decoded picture made small, padded (never stretched) to `size` first."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    canvas = dominant(np.asarray(picture.resize(COLORS, Image.Resampling.NEAREST)))
    if (width, height) != size:
        padded = Image.new("RGB", size, canvas)
        padded.paste(picture)
        picture = padded
    half = picture.reduce(2) if min(size) >= 2 * max(GREYS) else picture
    rgb = np.asarray(half.resize(COLORS, Image.Resampling.BOX))
    grey = np.asarray(half.convert("L").resize(GREYS, Image.Resampling.BOX))
    lab, canvas = rgb2lab(rgb).astype(np.float32), dominant(rgb)
    return Picture(
        rgb=rgb,
        lab=lab,
        grey=grey.astype(np.float32),
        edges=maximum_filter(grey, size=WINDOW) - minimum_filter(grey, size=WINDOW) > FAINT_GREY,
        canvas=canvas,
        contrast=contrast(rgb, lab, canvas),
    )


def contrast(rgb: Array, lab: Array, canvas: Color) -> Array:
    """float [128, 128]: CIEDE2000 of each pixel and a canvas of that colour."""
    apart = np.zeros(rgb.shape[:2])
    drawn = (rgb != np.asarray(canvas, dtype=np.uint8)).any(axis=-1)
    ground = rgb2lab(np.asarray([[canvas]], dtype=np.uint8))[0].astype(np.float32)
    apart[drawn] = deltaE_ciede2000(lab[drawn], np.broadcast_to(ground, lab[drawn].shape))
    return apart


def dominant(pixels: Array) -> Color:
    """The commonest colour of uint8 [..., 3]; black when there are no pixels."""
    flat = pixels.reshape(-1, 3).astype(np.uint32)
    if not len(flat):
        return 0, 0, 0
    packed, counts = np.unique((flat[:, 0] << 16) | (flat[:, 1] << 8) | flat[:, 2], return_counts=True)
    color = int(packed[counts.argmax()])
    return color >> 16, color >> 8 & 255, color & 255


def structure(found: Picture, wanted: Picture) -> float:
    """Mean SSIM in [0, 1] where either picture shows an edge (Wang et al. 2004, uniform 7 x 7 window).

    On bare areas SSIM is near 1, whatever the page: counting them would reward pages for being empty.
    """
    if np.array_equal(found.grey, wanted.grey):
        return 1.0
    edges = found.edges | wanted.edges
    if not edges.any():
        return 1.0
    _, similar = structural_similarity(found.grey, wanted.grey, win_size=WINDOW, data_range=255, full=True)
    return float(np.clip(similar[edges].mean(), 0.0, 1.0))
