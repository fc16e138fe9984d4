"""Reads the rows of a Parquet or JSON file."""

from collections.abc import Iterator
from pathlib import Path

from rollout.rows.fields import Row
from rollout.rows.json_rows import json_rows
from rollout.rows.parquet_rows import parquet_rows


def file_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file with their places: of Parquet for the suffix .parquet, else of JSON. Raises TaskFileError."""
    return parquet_rows(path) if path.suffix == ".parquet" else json_rows(path)
