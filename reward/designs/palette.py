"""The colours, sizes and alignments that designs are drawn from, by the names briefs use.

Colours carry CSS's own names and values, so that a brief says "navy" and any writer knows `#000080`.
"""

LIGHTS = {
    "white": "#ffffff",
    "ivory": "#fffff0",
    "lavender": "#e6e6fa",
    "pink": "#ffc0cb",
    "wheat": "#f5deb3",
    "lightblue": "#add8e6",
}
"""Grounds: black and every dark colour can be read on them."""

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
"""Accents: white can be read on them."""

COLORS = {**LIGHTS, **DARKS}

SIZES = {"medium": 36, "large": 48, "huge": 64}
"""Font sizes of titles, in pixels."""

ALIGNS = ("left", "center", "right")
