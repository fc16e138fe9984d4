"""Colours as people see them apart: CIEDE2000 in CIELAB."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Floats = NDArray[np.float64]


@lru_cache(maxsize=65536)
def distance(one: Color, other: Color) -> float:
    """CIEDE2000 difference of two sRGB colours: 0 for equal ones, about 100 for black and white."""
    if one == other:
        return 0.0
    return float(differences(lab(np.array([[one]], dtype=np.uint8)), lab(np.array([[other]], dtype=np.uint8)))[0, 0])


def lab(rgb: NDArray[np.uint8]) -> Floats:
    """[H, W, 3] sRGB bytes → [H, W, 3] CIELAB."""
    from skimage.color import rgb2lab

    converted: Floats = rgb2lab(rgb)
    return converted


def differences(one: Floats, other: Floats) -> Floats:
    """[H, W] CIEDE2000 differences of two CIELAB pictures."""
    from skimage.color import deltaE_ciede2000

    apart: Floats = deltaE_ciede2000(one, other)
    return apart
