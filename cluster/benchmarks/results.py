"""The folder of a benchmark's results: what was played so far, the table of all tests, and the pictures.

| file | content |
|---|---|
| `benchmark.json` | what was measured; a resumed benchmark must be the same |
| `answers-<subject>.jsonl` | every answer, when it was written |
| `played.jsonl` | the results of every item, when it was played |
| `results.parquet` | one row for each subject, item and test |
| `pictures/<subject>/<item>.png` | the tested page |
| `summary.json`, `report.html` | scores, for programs and for people |
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from cluster.benchmarks.json_lines import append_line, read_lines
from cluster.benchmarks.records import TestResult
from rollout.errors import CheckpointError
from rollout.files import atomic_write

MANIFEST, PLAYED, TABLE = "benchmark.json", "played.jsonl", "results.parquet"
Results = dict[str, dict[str, list[TestResult]]]
"""Results by subject and item id."""


class ResultFolder:
    """The results of one benchmark run, kept while it goes on."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Opens a new folder, or continues one. Raises CheckpointError when it holds another benchmark."""
        self.path = path
        self.results: Results = {}
        known = _read_manifest(path)
        if known is not None and known != manifest:
            different = ", ".join(name for name in manifest if known.get(name) != manifest[name])
            raise CheckpointError(f"{path} holds another benchmark ({different} differ); give a new folder with --out")
        if known is None:
            atomic_write(path / MANIFEST, json.dumps(manifest, indent=1).encode())
        for row in read_lines(path / PLAYED):
            self.results.setdefault(row["subject"], {})[row["item"]] = [TestResult(**one) for one in row["results"]]

    def played(self, subject: str, item: str) -> bool:
        """Whether an item's results are complete; items with machine faults are played again."""
        results = self.results.get(subject, {}).get(item)
        return results is not None and all(one.verdict != "machine_fault" for one in results)

    def add(self, subject: str, item: str, results: Sequence[TestResult]) -> None:
        """Keeps the results of an item and writes its picture. Raises StorageFault."""
        picture = next((one.picture for one in results if one.picture is not None), None)
        if picture is not None:
            atomic_write(self.picture(subject, item), picture, durable=False)
        kept = [replace(one, picture=None) for one in results]
        row = {"subject": subject, "item": item, "results": [asdict(one) for one in kept]}
        append_line(self.path / PLAYED, row)
        self.results.setdefault(subject, {})[item] = kept

    def picture(self, subject: str, item: str) -> Path:
        """Path of an item's picture, whether or not it exists. Ids come from files: no separators of paths remain."""
        safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in item)
        return self.path / "pictures" / subject / f"{safe}.png"

    def write_table(self) -> None:
        """Writes `results.parquet`. Raises StorageFault."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [
            {
                "subject": subject,
                "item": item,
                "test": one.test,
                "verdict": one.verdict,
                "score": one.score,
                "detail": one.detail,
                "values": [{"name": name, "value": value} for name, value in one.values.items()],
                "seconds": one.seconds,
                "retries": one.retries,
            }
            for subject, items in self.results.items()
            for item, results in items.items()
            for one in results
        ]
        values = pa.list_(pa.struct({"name": pa.string(), "value": pa.float64()}))
        text = {name: pa.string() for name in ("subject", "item", "test", "verdict")}
        schema = pa.schema(
            {
                **text,
                "score": pa.float64(),
                "detail": pa.string(),
                "values": values,
                "seconds": pa.float64(),
                "retries": pa.int64(),
            }
        )
        sink = BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
        atomic_write(self.path / TABLE, sink.getvalue())


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of an existing folder; None for a new one. Raises CheckpointError."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        found: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise CheckpointError(f"{path} is not empty and holds no {MANIFEST}; give a new folder with --out") from None
    return found
