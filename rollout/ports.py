"""Protocols of the services that episodes and the training loop depend on.

All methods are asynchronous and may raise `MachineError`. Some raise other errors of `rollout.errors` that end an
episode or the run, such as PromptTooLong and BudgetSpent. Any other exception is a bug.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rollout.records import (
    Batch,
    Comparison,
    Completion,
    Critique,
    Page,
    Probe,
    Render,
    Request,
    Reward,
    Sync,
    Task,
    Update,
    Viewport,
)

RenderedPage = tuple[Page, Render]
"""A page and its render."""


class Policy(Protocol):
    """The language model: generates pages, revisions and its own feedback."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """Returns `request.num` completions in sampling order."""
        ...


class Renderer(Protocol):
    """Renders a page in a browser and runs its probes."""

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """Renders `page.html`, which must not be None. Faults of the page are outcomes, not errors.

        Timed screenshots and probes use the first viewport, or the settings' one; each further viewport adds a view.
        """
        ...


class Critic(Protocol):
    """Scores a render and writes feedback on it."""

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """Judges a valid render. `reference` is the render of the task's reference page, if it has one.

        `fresh` bypasses the judgment cache for reading and writing.
        """
        ...

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """Compares two pages that render validly, in both orders."""
        ...


class Learner(Protocol):
    """Trains the policy."""

    async def update(self, batch: Batch) -> Update:
        """Performs one optimizer step and increments the version by one."""
        ...

    async def sync(self) -> Sync:
        """Copies the learner's weights into every engine and verifies them. Raises SyncError on a mismatch."""
        ...

    async def save(self, path: Path) -> None:
        """Writes a checkpoint to a temporary folder and renames it to `path`."""
        ...

    async def load(self, path: Path) -> None:
        """Restores weights, optimizer, scheduler, version and random generators. Raises CheckpointError."""
        ...

    async def export(self, path: Path) -> None:
        """Writes the weights as a Hugging Face model directory."""
        ...


Score = Callable[[Page, Render | None, Critique | None, Task], Reward]
"""Pure function that returns the reward of a page; see `reward.score`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeServices:
    """The services that an episode uses: all ports except the learner."""

    policy: Policy
    renderer: Renderer
    critic: Critic
    score: Score
