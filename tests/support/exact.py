"""Compares the metrics of two runs with the same settings and seed, also after interruptions."""

from collections.abc import Iterator, Mapping, Sequence

CLOCKED = ("seconds", "per_s", "mean_generate", "mean_render", "mean_judge", "busy", "idle_", "queue_", "cores")
"""Parts of the names of metrics that depend on a clock."""
PACED = ("in_flight",)
"""Metrics that depend on those."""
Row = Mapping[str, float]


def timeless(history: Sequence[Row]) -> list[dict[str, float]]:
    """A history without metrics that depend on a clock."""
    return [
        {name: v for name, v in row.items() if name not in PACED and not any(word in name for word in CLOCKED)}
        for row in history
    ]


def differences(one: Sequence[Row], other: Sequence[Row]) -> Iterator[tuple[float, int, str]]:
    """Differences of two histories (difference, step, metric), without metrics that depend on a clock.

    Raises AssertionError if their steps, or the names of the metrics of a step, differ.
    """
    mine, theirs = timeless(one), timeless(other)
    assert [row["step"] for row in mine] == [row["step"] for row in theirs]
    for row, its in zip(mine, theirs, strict=True):
        assert row.keys() == its.keys(), sorted(row.keys() ^ its.keys())
        yield from ((abs(row[name] - its[name]), int(row["step"]), name) for name in row)
