"""A run: what the loop needs, and who is told how it goes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cluster.settings import RunSettings
from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store
from cluster.training.curriculum import Curriculum
from cluster.training.exam import Exam, RolloutWorkers
from cluster.training.state import RunState
from rollout.ports import Learner
from rollout.records import Group


class RunObserver(Protocol):
    """Who is told how the run goes: the tracker, the display."""

    def stage(self, text: str) -> None:
        """Something that takes a while begins."""
        ...

    def progress(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        ...

    def step(self, state: RunState, groups: list[Group]) -> None:
        """A step is finished; its metrics are the last of `state.history`, to which it may add before they are kept."""
        ...

    def exam(self, exam: Exam, state: RunState) -> None:
        """An exam was sat."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...


@dataclass(kw_only=True)
class Run:
    """All that a run needs, hired or in-process."""

    settings: RunSettings
    curriculum: Curriculum
    store: Store
    players: RolloutWorkers
    learner: Learner
    watcher: RunObserver
    state: RunState = field(default_factory=RunState)

    @property
    def shelf(self) -> PendingGroups:
        """Groups that no step has learnt from yet."""
        return PendingGroups(self.store, self.settings.seed)

    @property
    def champion(self) -> Path:
        """Where the champion's weights are exported."""
        return self.store.path / "champion"
