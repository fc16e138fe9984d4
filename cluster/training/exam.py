"""The exam: the same held-out tasks with the same seeds, each time the policy sits it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cluster.distributed.worker import SelfEditResult
from cluster.storage.store import Store
from cluster.training.metrics import mean
from reward.agreement import Pair, by_chance, on_page
from rollout.errors import EngineFault, MachineError, StorageFault, fault_line
from rollout.records import Critique, Group, Page, Task, Trajectory
from rollout.seeds import seed_of
from rollout.together import gather_or_cancel

T = TypeVar("T")
TRIES = 3
REVIEWED = 16
"""Pages of an exam that the policy criticises too: the first ones that the critic judged."""


class RolloutWorkers(Protocol):
    """Who plays: one episode worker, or many behind one door."""

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """`num` episodes of one task."""
        ...

    async def edit(self, task: Task, *, rounds: int, seed: int) -> SelfEditResult:
        """Critic-free self-edit of one task."""
        ...

    async def judge_anew(self, task: Task, page: Page) -> Critique:
        """What the critic says of a page now, whatever it said before. Raises MachineError."""
        ...

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """What the policy says is wrong with a page."""
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
    agreement: float | None = None
    """How well the policy's own critique of its pages agrees with the critic's, see `reward.agreement`; None where the
    critic judged none of them."""
    agreement_by_chance: float | None = None
    """The same with the critic's words about other pages."""

    @property
    def mean(self) -> float:
        """Mean reward."""
        return mean(list(self.rewards.values()))


async def sit(players: RolloutWorkers, store: Store, tasks: Sequence[Task], *, step: int, seed: int) -> Exam:
    """One page a task, without revision; then the policy criticises some of them. Both are stored.

    What is stored already, by a run that was killed soon after, is not played again. Raises EngineFault when a task
    cannot be played.
    """
    played = store.read_exam(step)
    if played is None:
        played = await gather_or_cancel(*(_once(players, task, seed, rounds=0, keep=True) for task in tasks))
        store.write_exam(step, played)
    pairs = store.read_reviews(step)
    if pairs is None:
        pairs = await _review(players, played, seed)
        store.write_reviews(step, pairs)
    return Exam(
        step=step,
        rewards={trajectory.task.id: trajectory.reward for trajectory in played},
        valid=mean([float(trajectory.turns[0].attempts[0].outcome == "ok") for trajectory in played]),
        agreement=on_page(pairs) if pairs else None,
        agreement_by_chance=by_chance(pairs),
    )


async def _review(players: RolloutWorkers, played: Sequence[Trajectory], seed: int) -> dict[str, Pair]:
    """What the policy says of its pages, and what the critic said, by task."""
    first = [(trajectory.task, trajectory.turns[0].attempts[0]) for trajectory in played]
    judged = [(task, one.page, one.critique.feedback) for task, one in first if one.critique is not None][:REVIEWED]

    async def ask(task: Task, page: Page) -> tuple[str, ...]:
        return await _surviving(task, lambda: players.review(task, page, seed=seed_of(seed, task.id, "review")))

    said = await gather_or_cancel(*(ask(task, page) for task, page, _ in judged))
    return {task.id: (own, theirs) for (task, _, theirs), own in zip(judged, said, strict=True)}


async def inference_table(
    players: RolloutWorkers, tasks: Sequence[Task], *, rounds: int, seed: int
) -> dict[str, dict[str, float]]:
    """Base decode, self-edit and the full loop with the critic, side by side on the same tasks.

    Each row: mean `reward`, share `valid`, mean `tokens` written and mean `seconds` a task; `self_edit` has those after
    each round too, as `reward_1` and so on.
    """
    edited = await gather_or_cancel(*(_edit(players, task, rounds, seed) for task in tasks))
    judged = await gather_or_cancel(*(_once(players, task, seed, rounds=None, keep=False) for task in tasks))
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


def _edited_row(edited: Sequence[SelfEditResult], number: int) -> dict[str, float]:
    return {
        "reward": mean([edit.rewards[number] for edit in edited]),
        "valid": mean([float(edit.valid[number]) for edit in edited]),
        "tokens": mean([float(edit.tokens[number]) for edit in edited]),
        "seconds": mean([edit.seconds[number] for edit in edited]),
    }


def _tokens(trajectory: Trajectory) -> int:
    return sum(len(attempt.completion.token_ids) for turn in trajectory.turns for attempt in turn.attempts)


async def _once(players: RolloutWorkers, task: Task, seed: int, *, rounds: int | None, keep: bool) -> Trajectory:
    last = "no fault was recorded"
    for _ in range(TRIES):
        group = await players.play_group(task, num=1, seed=seed, rounds=rounds, keep=keep)
        if group.trajectories:
            return group.trajectories[0]
        last = next(reversed(group.faults), last)
    raise EngineFault(f"held-out task {task.id} was lost to machine faults {TRIES} times, the last time to {last}")


async def _edit(players: RolloutWorkers, task: Task, rounds: int, seed: int) -> SelfEditResult:
    return await _surviving(task, lambda: players.edit(task, rounds=rounds, seed=seed))


async def _surviving(task: Task, ask: Callable[[], Awaitable[T]]) -> T:
    last = MachineError("no fault was recorded")
    for _ in range(TRIES):
        try:
            return await ask()
        except StorageFault:
            raise
        except MachineError as error:
            last = error
    raise EngineFault(
        f"held-out task {task.id} was lost to machine faults {TRIES} times, the last time to {fault_line(last)}"
    ) from last
