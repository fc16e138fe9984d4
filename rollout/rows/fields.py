"""Validates the fields of a task row. Errors are one line: the row, the field, its value, and the fix."""

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
"""Maximum length of an invalid value quoted in an error."""


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
    """Returns the value. Raises TaskFileError when it is not an object."""
    if not isinstance(value, dict):
        raise TaskFileError(f"{where}: got {show(value)}, wanted an object")
    return value


def list_of(where: str, row: Row, name: str) -> list[Any]:
    """Returns a list field, given as a list or (in tables without nested columns) as JSON text; null is empty."""
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
    """Returns the `id`: text, or an integer, which is converted to its digits."""
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(where, row, "id")


def text_of(where: str, row: Row, name: str) -> str:
    """Returns a text field. Raises TaskFileError if it is missing, empty or has a lone surrogate."""
    value = row.get(name)
    if value is None:
        raise TaskFileError(f"{where}: `{name}` is missing, wanted text")
    if not isinstance(value, str) or not value.strip():
        raise TaskFileError(f"{where}: `{name}` is {show(value)}, wanted text that is not empty")
    if SURROGATE.search(value):
        raise TaskFileError(f"{where}: `{name}` holds half a character (a lone surrogate), wanted text; remove it")
    return value


def show(value: object) -> str:
    """The `repr` of a value, truncated to `SHOWN` characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
