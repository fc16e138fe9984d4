"""The sockets: what the episode and the loop need done, never who does it.

All methods are asynchronous; all may raise `MachineError`, and nothing else but bugs.
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
"""A page, and what a browser made of it."""


class Policy(Protocol):
    """Writes: pages, revisions, its own feedback."""

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """`request.num` completions in sampling order."""
        ...


class Renderer(Protocol):
    """Shows a page and operates it."""

    async def render(self, page: Page, probes: tuple[Probe, ...] = (), viewports: tuple[Viewport, ...] = ()) -> Render:
        """What a browser makes of `page.html`, which is not None. A page's own faults are outcomes, not errors.

        Timed pictures and probes are those of the first viewport, or of the settings'; each further one adds a view.
        """
        ...


class Critic(Protocol):
    """Looks at a render and says how good it is and what to change."""

    async def judge(
        self, task: Task, page: Page, render: Render, reference: Render | None, *, fresh: bool = False
    ) -> Critique:
        """Judges a valid render; `reference` is the render of the task's reference page, where it has one.

        `fresh` asks anew what was judged before, and remembers nothing of it.
        """
        ...

    async def compare(self, task: Task, old: RenderedPage, new: RenderedPage, reference: Render | None) -> Comparison:
        """Which of two pages that render validly is better, asked in both orders."""
        ...


class Learner(Protocol):
    """Changes the policy."""

    async def update(self, batch: Batch) -> Update:
        """One optimizer step; the version rises by one."""
        ...

    async def sync(self) -> Sync:
        """Puts the learner's weights into every engine and proves it. Raises SyncError when the proof fails."""
        ...

    async def save(self, path: Path) -> None:
        """Writes a checkpoint aside and renames it to `path`."""
        ...

    async def load(self, path: Path) -> None:
        """Restores weights, optimizer, scheduler, version and generators. Raises CheckpointError."""
        ...

    async def export(self, path: Path) -> None:
        """Writes the weights as a Hugging Face directory."""
        ...


Score = Callable[[Page, Render | None, Critique | None, Task], Reward]
"""The reward of a page from what is known of it: pure, see `reward.score`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeServices:
    """Who plays an episode: everything but the learner."""

    policy: Policy
    renderer: Renderer
    critic: Critic
    score: Score
