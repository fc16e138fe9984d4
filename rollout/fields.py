"""Checks of the fields of a task's row. A failure is one line: the row, the field, what it holds, what to do."""

import difflib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rollout.errors import TaskFileError

Row = dict[str, Any]
SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 60
"""Characters of an unusable value that an error quotes."""


def check_names(where: str, row: Row, names: Sequence[str]) -> None:
    """Raises TaskFileError for fields that are not among `names`."""
    unknown = [str(name) for name in row if name not in names]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], names, n=1, cutoff=0.75)
    if near:
        raise TaskFileError(f"{where}: unknown column {show(unknown[0])}; did you mean {near[0]!r}?")
    several = "s" if len(unknown) > 1 else ""
    raise TaskFileError(
        f"{where}: unknown column{several} {', '.join(map(show, unknown[:5]))}, wanted only {', '.join(names)}; "
        f"remove the column{several} from the file"
    )


def object_of(where: str, value: object) -> Row:
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise TaskFileError(f"{where}: got {show(value)}, wanted an object")
    return value


def list_of(where: str, row: Row, name: str) -> list[Any]:
    """A field that is a list, or the JSON text of one, as tables without nested columns hold it; null is empty."""
    value = row.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, list):
        raise TaskFileError(f"{where}: `{name}` is {show(row[name])}, wanted a list")
    return value


def id_of(where: str, row: Row) -> str:
    """The `id`: a text, or a whole number, which is read as its digits."""
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(where, row, "id")


def text_of(where: str, row: Row, name: str) -> str:
    """A field that is a text and not empty."""
    value = row.get(name)
    if value is None:
        raise TaskFileError(f"{where}: `{name}` is missing, wanted a text")
    if not isinstance(value, str) or not value.strip():
        raise TaskFileError(f"{where}: `{name}` is {show(value)}, wanted a text that is not empty")
    if SURROGATE.search(value):
        raise TaskFileError(f"{where}: `{name}` holds half a character (a lone surrogate), wanted text; remove it")
    return value


def show(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
