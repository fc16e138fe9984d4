"""Colours, sizes and alignments of designs, by the names used in briefs.

Colours have CSS names and values, so "navy" in a brief means `#000080`.
"""

LIGHTS = {
    "white": "#ffffff",
    "ivory": "#fffff0",
    "lavender": "#e6e6fa",
    "pink": "#ffc0cb",
    "wheat": "#f5deb3",
    "lightblue": "#add8e6",
}
"""Background colours on which black and all dark colours are readable."""

DARKS = {
    "navy": "#000080",
    "teal": "#008080",
    "crimson": "#dc143c",
    "purple": "#800080",
    "green": "#008000",
    "maroon": "#800000",
    "sienna": "#a0522d",
    "black": "#000000",
}
"""Accent colours on which white is readable."""

COLORS = {**LIGHTS, **DARKS}

SIZES = {"medium": 36, "large": 48, "huge": 64}
"""Font sizes of titles, in pixels."""

ALIGNS = ("left", "center", "right")
