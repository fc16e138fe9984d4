"""Feedback sentences of the embedded critic: one function per kind of fault.

Colours are `#rrggbb`, lengths CSS pixels, places percent of the page's width and height.
"""

from typing import Literal

Color = tuple[int, int, int]
Side = Literal["above", "below", "to the left of", "to the right of"]


def hexadecimal(color: Color) -> str:
    """`(255, 0, 16)` → `#ff0010`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def missing_text(text: str, x: float, y: float) -> str:
    """A text of the reference that the page lacks; `x`, `y` in percent."""
    return f'The text "{text}" is missing; it belongs at {x:.0f}%, {y:.0f}%.'


def extra_text(text: str) -> str:
    """A text that the reference does not have."""
    return f'The text "{text}" should not be there.'


def wrong_text(found: str, wanted: str) -> str:
    """A text with the wrong words."""
    return f'"{found}" should read "{wanted}".'


def wrong_color(text: str, found: Color, wanted: Color) -> str:
    """A text in the wrong colour."""
    return f'The text "{text}" is {hexadecimal(found)}; it should be {hexadecimal(wanted)}.'


def wrong_background(text: str, found: Color, wanted: Color) -> str:
    """A text on the wrong background colour."""
    return f'The background of "{text}" is {hexadecimal(found)}; it should be {hexadecimal(wanted)}.'


def wrong_canvas(found: Color, wanted: Color) -> str:
    """The wrong background colour of the page."""
    return f"The page background is {hexadecimal(found)}; it should be {hexadecimal(wanted)}."


def moved(text: str, dx: float, dy: float) -> str:
    """Displacement of a text in pixels: positive is too far right, too low."""
    across = f"{_length(abs(dx))} px too far {'right' if dx > 0 else 'left'}"
    down = f"{_length(abs(dy))} px too {'low' if dy > 0 else 'high'}"
    if abs(dx) >= 1 and abs(dy) >= 1:
        return f'"{text}" is {across} and {down}.'
    return f'"{text}" is {across if abs(dx) >= abs(dy) else down}.'


def out_of_order(text: str, side: Side, other: str) -> str:
    """A text on the wrong side of another text."""
    return f'Move "{text}" {side} "{other}".'


def wrong_font_size(text: str, found: float, wanted: float) -> str:
    """A wrong font size, with as many decimals as needed to distinguish the sizes, at most two."""
    pairs = ((f"{found:.{digits}f}", f"{wanted:.{digits}f}") for digits in (0, 1, 2))
    size, right = next(((a, b) for a, b in pairs if a != b), (f"{found:g}", f"{wanted:g}"))
    return f'"{text}" is set in {size} px; it should be {right} px.'


def missing_box(tag: str, x: float, y: float) -> str:
    """An element without text of its own that the page lacks; `x`, `y` in percent."""
    return f"A {tag} is missing; it belongs at {x:.0f}%, {y:.0f}%."


def extra_box(tag: str, x: float, y: float) -> str:
    """An element that the reference does not have."""
    return f"The {tag} at {x:.0f}%, {y:.0f}% should not be there."


def failed_probe(name: str, detail: str) -> str:
    """A failed interaction and its detail."""
    return f'The interaction "{name}" fails: {detail}.'


def unchecked_probe(name: str, detail: str) -> str:
    """An interaction that could not be checked, and the reason."""
    return f'The interaction "{name}" could not be checked: {detail}.'


def wrong_fill(tag: str, x: float, y: float, found: Color, wanted: Color) -> str:
    """The wrong colour of an element without text of its own, or of an area; `x`, `y` in percent."""
    return f"The {tag} at {x:.0f}%, {y:.0f}% is {hexadecimal(found)}; it should be {hexadecimal(wanted)}."


def wrong_box_size(tag: str, x: float, y: float, found: tuple[float, float], wanted: tuple[float, float]) -> str:
    """The wrong size of an element without text of its own; `x`, `y` in percent."""
    sizes = (f"{width:.0f} x {height:.0f} px" for width, height in (found, wanted))
    return f"The {tag} at {x:.0f}%, {y:.0f}% is {next(sizes)}; it should be {next(sizes)}."


def wrong_motion(at_ms: int) -> str:
    """A page that is right at first and wrong at `at_ms`."""
    return f"The page does not move as it should: it looks wrong after {at_ms / 1000:g} s."


def wrong_height(found: float, wanted: float) -> str:
    """The wrong height of the whole page."""
    return f"The page is {found:.0f} px tall; it should be {wanted:.0f} px."


def _length(pixels: float) -> str:
    return f"{pixels:.0f}" if pixels >= 1 else f"{pixels:.1g}"
