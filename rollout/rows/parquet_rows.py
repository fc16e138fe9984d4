"""Reads the rows of a Parquet file. Errors are one line, with the file and the fix."""

import re
from collections.abc import Iterator
from pathlib import Path

from rollout.errors import TaskFileError
from rollout.rows.fields import Row

PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each row with its position, without an index column of pandas. Raises TaskFileError for an unreadable file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = [name for name in table.column_names if not PANDAS_INDEX.fullmatch(name)]
        rows: list[Row] = table.select(names).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TaskFileError(
            f"{path}: cannot be read as Parquet ({reason}); the file may be truncated; write it again"
        ) from error
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))
