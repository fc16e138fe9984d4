"""Builds HTML with automatic escaping: only `Html` values pass unescaped, and only `el` and `join` create them."""

from html import escape

VOID = frozenset({"img", "input", "meta", "link", "br"})


class Html(str):
    """A string of safe markup. Every other value is escaped before it enters a page."""

    __slots__ = ()


def el(tag: str, *children: object, **attributes: object) -> Html:
    """Builds one element. Children that are None or False are omitted; all but Html are escaped.

    Attributes: `class_` becomes `class`, `stroke_width` becomes `stroke-width`; True omits the value, None and False
    omit the attribute.
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    written = "".join(
        f" {name}" if value is True else f' {name}="{escape(str(value))}"'
        for name, value in names
        if value is not None and value is not False
    )
    return Html(f"<{tag}{written}>" if tag in VOID else f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: object) -> Html:
    """Concatenates children, escaped as in `el`."""
    pieces = (child for child in children if child is not None and child is not False)
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in pieces))
