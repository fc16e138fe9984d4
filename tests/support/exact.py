"""What must be the same of two runs of the same settings and seed, however often one of them was cut short."""

from collections.abc import Iterator, Mapping, Sequence

CLOCKED = ("seconds", "per_s", "mean_generate", "mean_render", "mean_judge", "busy", "idle_", "queue_", "cores")
"""Parts of the names of metrics that a clock had a hand in."""
PACED = ("in_flight",)
"""Metrics that follow from them."""
Row = Mapping[str, float]


def timeless(history: Sequence[Row]) -> list[dict[str, float]]:
    """A history without what the clock wrote."""
    return [
        {name: v for name, v in row.items() if name not in PACED and not any(word in name for word in CLOCKED)}
        for row in history
    ]


def differences(one: Sequence[Row], other: Sequence[Row]) -> Iterator[tuple[float, int, str]]:
    """How far apart two histories are: difference, step and metric, for all that no clock wrote.

    Raises AssertionError where their steps, or the metrics of a step, are not the same.
    """
    mine, theirs = timeless(one), timeless(other)
    assert [row["step"] for row in mine] == [row["step"] for row in theirs]
    for row, its in zip(mine, theirs, strict=True):
        assert row.keys() == its.keys(), sorted(row.keys() ^ its.keys())
        yield from ((abs(row[name] - its[name]), int(row["step"]), name) for name in row)
