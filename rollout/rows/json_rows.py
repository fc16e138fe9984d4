"""Reads the rows of a JSON file: one object a line, objects over several lines, or one array."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollout.errors import TaskFileError
from rollout.rows.fields import Row, show

Value = tuple[str, Any]
"""Position of a value in the file, and the value."""


class RepeatedKey(ValueError):
    """A JSON object contains a key twice; readers would silently keep one value."""


def json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yields each object and its position. Raises TaskFileError for invalid JSON and for values that are no objects."""
    text = _text(path)
    try:
        values = _lines(path, text)
    except TaskFileError:
        # Try objects over several lines. If the file is not JSON at all, the line's error is more useful.
        streamed = _stream(path, text)
        if streamed is None:
            raise
        values = streamed
    if len(values) == 1 and isinstance(values[0][1], list):
        values = [(f"item {number}", item) for number, item in enumerate(values[0][1], start=1)]
    for where, value in values:
        if not isinstance(value, dict):
            raise TaskFileError(f"{path}, {where}: got {show(value)}, wanted an object with `id` and `brief`")
        yield where, value


def _text(path: Path) -> str:
    """Decodes the file: UTF-8, or UTF-16 if it starts with a byte-order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskFileError(f"{path}: cannot be read ({error}); check its permissions") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TaskFileError(
            f"{path}: byte {error.start} is not UTF-8 text; save the file as UTF-8, one JSON object a line"
        ) from error


def _lines(path: Path, text: str) -> list[Value]:
    found: list[Value] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append((f"line {number}", json.loads(line, object_pairs_hook=_object)))
        except json.JSONDecodeError as error:
            raise TaskFileError(
                f"{path}, line {number}: not JSON ({error.msg} at character {error.pos + 1}); wanted one object a line"
            ) from error
        except (RepeatedKey, RecursionError) as error:
            raise TaskFileError(f"{path}, line {number}: {error}") from error
    return found


def _stream(path: Path, text: str) -> list[Value] | None:
    """Parses concatenated JSON values regardless of line breaks; None if the text is not JSON."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    found = list[Value]()
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        where = f"line {text.count(chr(10), 0, place) + 1}"
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            return None
        except (RepeatedKey, RecursionError) as error:
            raise TaskFileError(f"{path}, {where}: {error}") from error
        found.append((where, value))
    return found


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKey(f"`{twice}` appears twice in one object; remove one of them")
    return row
