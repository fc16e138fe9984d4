"""A run: settings, storage, clients and observer of the training loop."""

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
    """Protocol of what receives the progress of a run: tracker, display."""

    def stage(self, text: str) -> None:
        """Called when a long stage begins."""
        ...

    def progress(self, done: int, total: int, text: str) -> None:
        """Called with the progress of the stage."""
        ...

    def step(self, state: RunState, groups: list[Group]) -> None:
        """Called after each step; its metrics are the last of `state.history`, which observers may still extend."""
        ...

    def exam(self, exam: Exam, state: RunState) -> None:
        """Called after each exam."""
        ...

    def note(self, text: str) -> None:
        """Called with an event worth reporting to the user."""
        ...


@dataclass(kw_only=True)
class Run:
    """Everything that the training loop needs, with Ray or in-process clients."""

    settings: RunSettings
    curriculum: Curriculum
    store: Store
    workers: RolloutWorkers
    learner: Learner
    observer: RunObserver
    state: RunState = field(default_factory=RunState)

    @property
    def pending(self) -> PendingGroups:
        """Groups that no step has learnt from yet."""
        return PendingGroups(self.store, self.settings.seed)

    @property
    def champion(self) -> Path:
        """Folder to which the champion's weights are exported."""
        return self.store.path / "champion"
