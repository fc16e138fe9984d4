"""The exam: evaluates the policy on the same held-out tasks with the same seeds each time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cluster.distributed.worker import SelfEditResult
from cluster.storage.store import Store
from cluster.training.metrics import mean
from reward.agreement import Pair, by_chance, on_page
from rollout.errors import EngineFault, MachineError, StorageFault, fault_line
from rollout.records import Critique, Group, Page, Task, Trajectory
from rollout.retry import Retries
from rollout.seeds import seed_of
from rollout.together import gather_or_cancel

T = TypeVar("T")
RETRIES = 2
REVIEWED = 16
"""Number of exam pages that the policy also critiques: the first ones judged by the critic."""


class RolloutWorkers(Protocol):
    """Protocol of one episode worker or a pool of them."""

    async def play_group(
        self, task: Task, *, num: int, seed: int, rounds: int | None = None, keep: bool = False
    ) -> Group:
        """Plays `num` episodes of one task."""
        ...

    async def edit(self, task: Task, *, rounds: int, seed: int, keep: bool = False) -> SelfEditResult:
        """Critic-free self-edit of one task; with `keep`, its screenshots are stored."""
        ...

    async def judge_again(self, task: Task, page: Page) -> Critique:
        """Critiques a page again, bypassing the cache. Raises MachineError."""
        ...

    async def review(self, task: Task, page: Page, *, seed: int) -> tuple[str, ...]:
        """The policy's own feedback on a page."""
        ...


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The result of one exam."""

    step: int
    """Steps the policy had been trained for."""
    rewards: Mapping[str, float]
    """Reward of the first page, by task."""
    valid: float
    """Share of pages that rendered validly."""
    agreement: float | None = None
    """Agreement of the policy's own critique of its pages with the critic's (`reward.agreement`); None when the critic
    judged none of them.
    """
    agreement_by_chance: float | None = None
    """Baseline: the same agreement with the critic's feedback on other pages."""

    @property
    def mean(self) -> float:
        """Mean reward."""
        return mean(list(self.rewards.values()))


async def run_exam(workers: RolloutWorkers, store: Store, tasks: Sequence[Task], *, step: int, seed: int) -> Exam:
    """Runs an exam: one page per task without revision, then the policy's critique of some pages. Both are stored.

    Results that were already stored before a run was killed are reused. Raises EngineFault when a task cannot be
    played.
    """
    played = store.read_exam(step)
    if played is None:
        played = await gather_or_cancel(*(_play_once(workers, task, seed, rounds=0, keep=True) for task in tasks))
        store.write_exam(step, played)
    pairs = store.read_reviews(step)
    if pairs is None:
        pairs = await _review(workers, played, seed)
        store.write_reviews(step, pairs)
    return exam_of(step, played, pairs)


def exam_of(step: int, played: Sequence[Trajectory], pairs: Mapping[str, Pair]) -> Exam:
    """The result of an exam, from its trajectories and the feedback on its pages by task."""
    return Exam(
        step=step,
        rewards={trajectory.task.id: trajectory.reward for trajectory in played},
        valid=mean([float(trajectory.turns[0].attempts[0].outcome == "ok") for trajectory in played]),
        agreement=on_page(pairs) if pairs else None,
        agreement_by_chance=by_chance(pairs),
    )


async def _review(workers: RolloutWorkers, played: Sequence[Trajectory], seed: int) -> dict[str, Pair]:
    """The policy's and the critic's feedback on the same pages, by task."""
    first = [(trajectory.task, trajectory.turns[0].attempts[0]) for trajectory in played]
    judged = [(task, one.page, one.critique.feedback) for task, one in first if one.critique is not None][:REVIEWED]

    async def ask(task: Task, page: Page) -> tuple[str, ...]:
        return await _with_retries(task, lambda: workers.review(task, page, seed=seed_of(seed, task.id, "review")))

    said = await gather_or_cancel(*(ask(task, page) for task, page, _ in judged))
    return {task.id: (own, theirs) for (task, _, theirs), own in zip(judged, said, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """Self-edit and the full loop with the critic on the same tasks, in their order."""

    edited: Sequence[SelfEditResult]
    judged: Sequence[Trajectory]


async def run_inference(
    workers: RolloutWorkers, tasks: Sequence[Task], *, rounds: int, seed: int, keep: bool = False
) -> Inference:
    """Plays the tasks by self-edit, then in the full loop; with `keep`, their screenshots are stored."""
    edited = await gather_or_cancel(*(_edit(workers, task, rounds, seed, keep) for task in tasks))
    judged = await gather_or_cancel(*(_play_once(workers, task, seed, rounds=None, keep=keep) for task in tasks))
    return Inference(edited=edited, judged=judged)


def inference_table(played: Inference) -> dict[str, dict[str, float]]:
    """Compares base decode, self-edit and the full loop with the critic.

    Each row: mean `reward`, share `valid`, mean `tokens` written and mean `seconds` per task; `self_edit` also has the
    values after each round, as `reward_1` and so on.
    """
    edited = played.edited
    judged = played.judged
    rounds = len(edited[0].rewards) - 1
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


async def _play_once(workers: RolloutWorkers, task: Task, seed: int, *, rounds: int | None, keep: bool) -> Trajectory:
    async def play() -> Trajectory:
        group = await workers.play_group(task, num=1, seed=seed, rounds=rounds, keep=keep)
        if not group.trajectories:
            raise MachineError(f"the episode was dropped: {next(reversed(group.faults), 'no fault was recorded')}")
        return group.trajectories[0]

    return await _with_retries(task, play)


async def _edit(workers: RolloutWorkers, task: Task, rounds: int, seed: int, keep: bool) -> SelfEditResult:
    return await _with_retries(task, lambda: workers.edit(task, rounds=rounds, seed=seed, keep=keep))


async def _with_retries(task: Task, ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await Retries(f"held-out task {task.id}", RETRIES).call(ask)
    except StorageFault:
        raise
    except MachineError as fault:
        raise EngineFault(
            f"held-out task {task.id} failed {RETRIES + 1} times; the last fault: {fault_line(fault)}"
        ) from fault
