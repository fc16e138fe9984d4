"""The shelf: groups that were begun and that no step has learnt from yet; those that are finished are stored here.

A run that is killed loses nothing that was played: when it resumes, what was finished is taken from here, and what was
being played is played again. Which step and place a group was begun at names it, as it names its task and its seed.
"""

from collections.abc import Collection
from pathlib import Path

from cluster.storage.store import TEMPORARY_SUFFIX, Store, read_groups, write_groups
from rollout.files import atomic_write
from rollout.records import Group
from rollout.seeds import seed_of

Place = tuple[int, int]
"""The step a group was begun in, and its place there."""


class PendingGroups:
    """A folder with an empty file for each group that was begun, and a table once it is finished."""

    def __init__(self, store: Store, seed: int) -> None:
        """`seed` is the run's."""
        self.store, self.seed, self.folder = store, seed, store.path / "unlearnt"

    def begin(self, place: Place) -> None:
        """Remembers that a group was begun. Raises StorageFault."""
        atomic_write(self._file(place, ".begun"), b"", durable=False)

    def put(self, place: Place, group: Group) -> None:
        """Stores a group, but one that lost episodes to faults: played again it may be whole. Raises StorageFault."""
        if not group.dropped:
            write_groups(self._file(place, TEMPORARY_SUFFIX), [group], place[0])

    def take(self, place: Place) -> Group | None:
        """The group that was begun there, where it is finished already. Raises CheckpointError when it is damaged."""
        path = self._file(place, TEMPORARY_SUFFIX)
        return read_groups(path)[0] if path.exists() else None

    def places(self) -> list[Place]:
        """Of all groups, the earliest begun first, without those that a step had stored too when the run was killed."""
        found = sorted({_place(path) for path in self.folder.glob("step-*")})
        learnt = {id_.rpartition("@")[2] for id_ in self.store.trajectories_since(found[0][0])} if found else set()
        return [place for place in found if str(self.seed_of(place)) not in learnt]

    def seed_of(self, place: Place) -> int:
        """The seed of the group that is begun there, which its trajectories' ids end with."""
        return seed_of(self.seed, *place)

    def clear(self, keep: Collection[Place] = ()) -> None:
        """Throws all groups away but those at the places to keep."""
        for path in self.folder.glob("step-*"):
            if _place(path) not in keep:
                path.unlink()

    def _file(self, place: Place, kind: str) -> Path:
        return self.folder / f"step-{place[0]:06d}-place-{place[1]:06d}{kind}"


def _place(path: Path) -> Place:
    _, step, _, place = path.stem.split("-")
    return int(step), int(place)
