"""Builds HTML so that untrusted text cannot become markup: only `Html` passes unescaped, and only `el` makes it."""

from html import escape

VOID = frozenset({"img", "meta", "link", "br"})


class Html(str):
    """Text that is markup already. Whatever is not of this type is escaped before it enters a page."""

    __slots__ = ()


def el(tag: str, *children: object, **attributes: object) -> Html:
    """One element. Children that are None or False are left out, and all but Html is escaped.

    Attributes: `class_` is `class`, `stroke_width` is `stroke-width`, True stands alone, None and False are left out.
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    written = "".join(
        f" {name}" if value is True else f' {name}="{escape(str(value))}"'
        for name, value in names
        if value is not None and value is not False
    )
    return Html(f"<{tag}{written}>" if tag in VOID else f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: object) -> Html:
    """Several pieces in a row, escaped as in `el`."""
    pieces = (child for child in children if child is not None and child is not False)
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in pieces))
