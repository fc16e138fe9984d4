"""Finished groups of a run, newest first: those of stored steps, and pending ones that no step has stored yet.

They are read without token ids and log-probs, which are most of a table, a few groups at a time. The run may go on in
another process: every file is complete when it appears, but may be replaced or deleted at any moment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cluster.storage.pending_groups import place_of
from cluster.storage.store import TEMPORARY_SUFFIX, Store
from cluster.storage.trajectory_table import rows_groups
from rollout.errors import CheckpointError
from rollout.records import Group

TOKEN_COLUMNS = ("prompt_ids", "token_ids", "logprobs", "versions")
"""Columns that no display needs."""
Stamp = tuple[int, int]
"""(modification time in ns, size in bytes) of a file: differs when the file was replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFile:
    """Location of one finished group."""

    step: int
    """The step that stored the group; for a pending group, the step that started it."""
    place: int
    """Position in the step's table; for a pending group, the place at which it was started."""
    path: Path
    stamp: Stamp

    @property
    def pending(self) -> bool:
        """Whether no step has stored the group yet."""
        return self.path.suffix == TEMPORARY_SUFFIX


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file, or None when it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def pending_files(store: Store) -> list[GroupFile]:
    """Finished groups that no step has stored yet, newest first."""
    found = []
    for path in store.unlearnt.glob(f"step-*{TEMPORARY_SUFFIX}"):
        if stamp := stamp_of(path):
            step, place = place_of(path)
            found.append(GroupFile(step=step, place=place, path=path, stamp=stamp))
    return sorted(found, key=lambda file: (file.stamp, file.step, file.place), reverse=True)


def stored_files(store: Store, before: tuple[int, int] | None = None) -> Iterator[GroupFile]:
    """Groups of stored steps, newest step first and last place first; `before` excludes that (step, place) and later.

    Reads a step's file only when the iteration reaches it.
    """
    for path in sorted(store.trajectories.glob("step-*.parquet"), reverse=True):
        step = int(path.stem.removeprefix("step-"))
        if before is not None and step > before[0]:
            continue
        if (stamp := stamp_of(path)) is None:
            continue
        last = _num_groups(path, stamp)
        if before is not None and step == before[0]:
            last = min(last, before[1])
        for place in reversed(range(last)):
            yield GroupFile(step=step, place=place, path=path, stamp=stamp)


def read_finished(file: GroupFile) -> Group | None:
    """One group without its tokens, or None when its file is gone. Raises CheckpointError when it is damaged."""
    groups = read_untokenized(file.path, None if file.pending else file.place)
    return groups[0] if groups else None


def read_untokenized(path: Path, place: int | None = None) -> list[Group]:
    """The groups of a table without their tokens, or only that at `place`; empty when the file is gone.

    Raises CheckpointError when it is damaged.
    """
    import pyarrow as pa

    try:
        table = _arrow_table(path) if path.suffix == TEMPORARY_SUFFIX else _parquet_table(path, place)
        return rows_groups([{**row, **dict.fromkeys(TOKEN_COLUMNS, ())} for row in table.to_pylist()])
    except FileNotFoundError:
        return []
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _arrow_table(path: Path) -> Any:
    import pyarrow as pa

    table = pa.ipc.open_file(path.read_bytes()).read_all()
    return table.select(_shown(table.column_names))


def _parquet_table(path: Path, place: int | None) -> Any:
    import pyarrow.parquet as pq

    filters = None if place is None else [("group", "=", place)]
    return pq.read_table(path, columns=_shown(pq.read_schema(path).names), filters=filters)


def _shown(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in TOKEN_COLUMNS]


@lru_cache(maxsize=4096)
def _num_groups(path: Path, stamp: Stamp) -> int:
    """Number of groups in a step's table; `stamp` makes the cache forget a replaced file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        groups = pq.read_table(path, columns=["group"])["group"]
    except FileNotFoundError:
        return 0
    except (pa.ArrowException, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error})") from None
    return len(groups.unique())
