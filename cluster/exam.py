"""The exam: the same held-out tasks with the same seeds, each time the policy sits it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.metrics import mean
from cluster.worker import Edited
from rollout.errors import EngineFault, MachineError
from rollout.records import Critique, Group, Page, Task, Trajectory

TRIES = 3


class Players(Protocol):
    """Who plays: one episode worker, or many behind one door."""

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """`num` episodes of one task."""
        ...

    async def edit(self, task: Task, *, rounds: int, seed: int) -> Edited:
        """Critic-free self-edit of one task."""
        ...

    async def judge_anew(self, task: Task, page: Page) -> Critique:
        """What the critic says of a page now, whatever it said before. Raises MachineError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The result of one sitting."""

    step: int
    """Steps the policy had learnt when it sat."""
    rewards: Mapping[str, float]
    """Reward of the first page, by task."""
    valid: float
    """Share of pages that rendered validly."""

    @property
    def mean(self) -> float:
        """Mean reward."""
        return mean(list(self.rewards.values()))


async def sit(players: Players, tasks: Sequence[Task], *, step: int, seed: int) -> tuple[Exam, list[Trajectory]]:
    """One page a task, without revision. Raises EngineFault when a task cannot be played."""
    played = await asyncio.gather(*(_once(players, task, seed, rounds=0, keep=True) for task in tasks))
    exam = Exam(
        step=step,
        rewards={trajectory.task.id: trajectory.reward for trajectory in played},
        valid=mean([float(trajectory.turns[0].attempts[0].outcome == "ok") for trajectory in played]),
    )
    return exam, list(played)


async def inference_table(
    players: Players, tasks: Sequence[Task], *, rounds: int, seed: int
) -> dict[str, dict[str, float]]:
    """Base decode, self-edit and the full loop with the critic, side by side on the same tasks.

    Each row: mean `reward`, share `valid`, mean `tokens` written and mean `seconds` a task; `self_edit` has those after
    each round too, as `reward_1` and so on.
    """
    edited = await asyncio.gather(*(_edit(players, task, rounds, seed) for task in tasks))
    judged = await asyncio.gather(*(_once(players, task, seed, rounds=None, keep=False) for task in tasks))
    return {
        "base": _edited_row(edited, 0),
        "self_edit": {
            **_edited_row(edited, rounds),
            **{
                f"{name}_{number}": value
                for number in range(1, rounds + 1)
                for name, value in _edited_row(edited, number).items()
            },
        },
        "with_critic": {
            "reward": mean([trajectory.reward for trajectory in judged]),
            "valid": mean([float(trajectory.accepted[-1].outcome == "ok") for trajectory in judged]),
            "tokens": mean([float(_tokens(trajectory)) for trajectory in judged]),
            "seconds": mean([trajectory.seconds for trajectory in judged]),
        },
    }


def _edited_row(edited: Sequence[Edited], number: int) -> dict[str, float]:
    return {
        "reward": mean([edit.rewards[number] for edit in edited]),
        "valid": mean([float(edit.valid[number]) for edit in edited]),
        "tokens": mean([float(edit.tokens[number]) for edit in edited]),
        "seconds": mean([edit.seconds[number] for edit in edited]),
    }


def _tokens(trajectory: Trajectory) -> int:
    return sum(len(attempt.completion.token_ids) for turn in trajectory.turns for attempt in turn.attempts)


async def _once(players: Players, task: Task, seed: int, *, rounds: int | None, keep: bool) -> Trajectory:
    for _ in range(TRIES):
        group = await players.play_group(task, num=1, seed=seed, rounds=rounds, keep=keep)
        if group.trajectories:
            return group.trajectories[0]
    raise EngineFault(f"held-out task {task.id} was lost to machine faults {TRIES} times; see the log for what failed")


async def _edit(players: Players, task: Task, rounds: int, seed: int) -> Edited:
    fault: MachineError | None = None
    for _ in range(TRIES):
        try:
            return await players.edit(task, rounds=rounds, seed=seed)
        except MachineError as error:
            fault = error
    raise EngineFault(f"held-out task {task.id} was lost to machine faults {TRIES} times") from fault
