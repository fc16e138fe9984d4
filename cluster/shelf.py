"""The shelf: groups that are finished and that no step has learnt from yet, stored one by one as they finish.

A run that is killed loses what was being played, and nothing that was: when it resumes, a group that would be begun
again is taken from here. Which step and place a group was begun at names it, as it names its task and its seed.
"""

from collections.abc import Collection
from pathlib import Path

from cluster.store import Store, read_groups, write_groups
from rollout.records import Group

Place = tuple[int, int]
"""The step a group was begun in, and its place there."""


class Shelf:
    """A folder with one table a group."""

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.path / "unlearnt"

    def put(self, place: Place, group: Group) -> None:
        """Stores a group, but one that lost episodes to faults: played again it may be whole. Raises StorageFault."""
        if not group.dropped:
            write_groups(self._file(place), [group], place[0])

    def take(self, place: Place) -> Group | None:
        """The group that was begun there, where it is finished already. Raises CheckpointError when it is damaged."""
        path = self._file(place)
        return read_groups(path)[0] if path.exists() else None

    def places(self) -> list[Place]:
        """Of all groups, the earliest begun first; those that a step has stored too, before it was killed, are left."""
        found = sorted(_place(path) for path in self.folder.glob("*.parquet"))
        learnt = self.store.trajectories_since(found[0][0]) if found else set()
        return [place for place in found if learnt.isdisjoint(_ids(self.take(place)))]

    def clear(self, keep: Collection[Place] = ()) -> None:
        """Throws all groups away but those at the places to keep."""
        for path in self.folder.glob("*.parquet"):
            if _place(path) not in keep:
                path.unlink()

    def _file(self, place: Place) -> Path:
        return self.folder / f"step-{place[0]:06d}-place-{place[1]:06d}.parquet"


def _place(path: Path) -> Place:
    _, step, _, place = path.stem.split("-")
    return int(step), int(place)


def _ids(group: Group | None) -> set[str]:
    return {trajectory.id for trajectory in group.trajectories} if group is not None else set()
