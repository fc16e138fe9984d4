"""Reads the rows of FullStackBench that ask for HTML: prompt, solution, test file and assets."""

import base64
import binascii
import json
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from cluster.benchmarks.records import Item
from rollout.errors import TaskFileError
from rollout.records import Message
from rollout.rows.fields import Row, id_of, object_of, show, text_of
from rollout.rows.file_rows import file_rows

SPEC = "page.test.ts"
"""Path of the test file; the page and the assets are next to it."""
LANGUAGE, TESTS = "html", "jest"


def read_rows(source: Path, wanted: str) -> tuple[tuple[Item, ...], int]:
    """The HTML rows of a file, and the number of its other rows. `wanted` describes the file in errors.

    Raises TaskFileError.
    """
    if not source.is_file():
        raise TaskFileError(f"{source}: no such file; wanted {wanted}")
    items: dict[str, Item] = {}
    left_out = 0
    for where, row in file_rows(source):
        place = f"{source}, {where}"
        labels = _object(place, row, "labels")
        languages = [str(labels.get(name, "")).lower() for name in ("programming_language", "execution_language")]
        if languages != [LANGUAGE, TESTS]:
            left_out += 1
            continue
        item = _item(place, row)
        if item.id in items:
            raise TaskFileError(f"{place}: the id {show(item.id)} occurs twice; give the file of one language")
        items[item.id] = item
    if not items:
        raise TaskFileError(f"{source}: none of {left_out} rows has the labels {LANGUAGE} and {TESTS}; wanted {wanted}")
    return tuple(items.values()), left_out


def _item(where: str, row: Row) -> Item:
    test = _object(where, row, "test")
    solution = row.get("canonical_solution")
    if solution is not None and not isinstance(solution, str):
        raise TaskFileError(f"{where}: `canonical_solution` is {show(solution)}, wanted text")
    return Item(
        id=id_of(where, row),
        messages=(Message(role="user", content=text_of(where, row, "content")),),
        tests=("accepted",),
        reference=_answer(solution) if solution else None,
        data={"code": text_of(f"{where}, test", test, "code"), "assets": _assets(where, test)},
    )


def _answer(solution: str) -> str:
    """A solution in the form of an answer."""
    return solution if "```" in solution else f"```html\n{solution}\n```\n"


def _assets(where: str, test: Row) -> dict[str, bytes]:
    """The files that the test reads, by relative path."""
    assets = _object(where, test, "asset") if test.get("asset") else {}
    files: dict[str, bytes] = {}
    for name, content in assets.items():
        if content is None:  # Parquet gives every row the names of all assets
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) in (SPEC, "."):
            raise TaskFileError(f"{where}: the asset {show(name)} is no relative path; give the published file")
        try:
            files[str(path)] = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise TaskFileError(f"{where}: the asset {show(name)} is not base64 ({error})") from error
    return files


def _object(where: str, row: Row, name: str) -> dict[str, Any]:
    """An object field, also given as JSON text (in tables without nested columns)."""
    value = row.get(name)
    if value is None:
        raise TaskFileError(f"{where}: `{name}` is missing; wanted a row of FullStackBench")
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    return object_of(f"{where}, `{name}`", value)
