"""Pending groups: groups that were started and that no step has learnt from yet; finished ones are stored here.

A run that is killed loses no finished group: on resume, finished groups are loaded from here, and groups that were
playing are played again. A group is identified by the step and place it was started at, which also determine its task
and seed.
"""

from collections.abc import Collection
from pathlib import Path

from cluster.storage.store import TEMPORARY_SUFFIX, Store, read_groups, write_groups
from rollout.files import atomic_write
from rollout.records import Group
from rollout.seeds import seed_of

Place = tuple[int, int]
"""(step, place) at which a group was started."""


class PendingGroups:
    """Folder with an empty file for each started group, and a table for each finished one."""

    def __init__(self, store: Store, seed: int) -> None:
        """`seed` is the seed of the run."""
        self.store = store
        self.seed = seed
        self.folder = store.unlearnt

    def begin(self, place: Place) -> None:
        """Records that a group was started. Raises StorageFault."""
        atomic_write(self._file(place, ".begun"), b"", durable=False)

    def put(self, place: Place, group: Group) -> None:
        """Stores a finished group, except one that lost episodes to faults: it is played again. Raises StorageFault."""
        if not group.dropped:
            write_groups(self._file(place, TEMPORARY_SUFFIX), [group], place[0])

    def take(self, place: Place) -> Group | None:
        """The stored group of this place, or None. Raises CheckpointError when it is damaged."""
        path = self._file(place, TEMPORARY_SUFFIX)
        return read_groups(path)[0] if path.exists() else None

    def places(self) -> list[Place]:
        """Places of all pending groups, oldest first, without those that a step stored before the run was killed."""
        found = sorted({place_of(path) for path in self.folder.glob("step-*")})
        learnt = {id_.rpartition("@")[2] for id_ in self.store.trajectories_since(found[0][0])} if found else set()
        return [place for place in found if str(self.seed_of(place)) not in learnt]

    def seed_of(self, place: Place) -> int:
        """The seed of the group at this place; its trajectories' ids end with it."""
        return seed_of(self.seed, *place)

    def clear(self, keep: Collection[Place] = ()) -> None:
        """Deletes all groups except those at the places to keep."""
        for path in self.folder.glob("step-*"):
            if place_of(path) not in keep:
                path.unlink()

    def _file(self, place: Place, kind: str) -> Path:
        return self.folder / f"step-{place[0]:06d}-place-{place[1]:06d}{kind}"


def place_of(path: Path) -> Place:
    """The step and place of a group, from the name of its file."""
    _, step, _, place = path.stem.split("-")
    return int(step), int(place)
