"""Builds training batches from rollout groups: samples, distillation targets, and bin packing into rows. Needs no
torch."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from learner.losses.credit import credited
from learner.settings import LearnerSettings
from rollout.acceptance import violations
from rollout.prompts import feedback_text, review
from rollout.records import Attempt, Batch, FeedbackTarget, Group, RevisionTarget, Sample, Trajectory

T = TypeVar("T")


def build(groups: Sequence[Group], settings: LearnerSettings, *, seed: int, forced: bool = True) -> Batch:
    """Collects one sample per credited attempt of the groups with a signal, and distillation targets from all groups.

    Raises ValueError, which indicates a bug in the rollout, when a trajectory's accepted rewards do not rise strictly
    or an accepted page lost a comparison. `forced=False` skips the check: every revision was accepted on purpose.
    """
    if forced:
        for group in groups:
            for trajectory in group.trajectories:
                _check_rising(trajectory)
    samples: list[Sample] = []
    flat = 0
    for group in groups:
        learnt = [
            _weighted(_sample(attempt, value, group.task.id), settings.negative_weight)
            for attempt, value in credited(group, settings)
        ]
        samples += learnt
        flat += not learnt
    wanted = settings.distill_lessons if settings.distill_weight > 0 else 0
    words = settings.distill_form == "words"
    return Batch(
        samples=tuple(samples),
        lessons=_some(_lessons(groups), wanted, seed) if words else (),
        hindsights=() if words else _some(_hindsights(groups), wanted, seed),
        groups=len(groups) - flat,
        flat_groups=flat,
    )


def pack(lengths: Sequence[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """Packs sequences of these lengths into rows of at most `budget` tokens; returns the indices in each row.

    The number of rows is a multiple of `multiple`. Sequences are placed longest first, into the row with the fewest
    tokens; nearly equal rows keep ranks from waiting for each other. Rows are never padded, and can be empty if there
    are few sequences. Deterministic. Raises ValueError for a sequence longer than the budget.
    """
    _check_lengths(lengths, budget)
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    num = multiple * max(1, -(-sum(lengths) // (budget * multiple)))
    while (rows := _deal(order, lengths, budget, num)) is None:
        num += multiple
    return rows


def one_a_row(lengths: Sequence[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """`pack` for models that read one sequence at a time: one per row, longest first, empty rows at the end."""
    _check_lengths(lengths, budget)
    rows = [[index] for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))]
    return rows + [[] for _ in range(-len(rows) % multiple)]


def _check_lengths(lengths: Sequence[int], budget: int) -> None:
    longest = max(lengths, default=0)
    if longest > budget:
        raise ValueError(
            f"a sample has {longest} tokens, but learner.token_budget is {budget}; raise it to at least {longest}"
        )


def _deal(order: Sequence[int], lengths: Sequence[int], budget: int, num: int) -> list[list[int]] | None:
    rows: list[list[int]] = [[] for _ in range(num)]
    loads = [0] * num
    for index in order:
        row = loads.index(min(loads))
        loads[row] += lengths[index]
        if loads[row] > budget:
            return None
        rows[row].append(index)
    return rows


def _check_rising(trajectory: Trajectory) -> None:
    rewards = [attempt.total for attempt in trajectory.accepted]
    if violations(rewards):
        raise ValueError(
            f"accepted rewards of trajectory {trajectory.id!r} must rise strictly, got "
            f"{', '.join(f'{reward:.6f}' for reward in rewards)}"
        )
    for attempt in trajectory.accepted:
        if attempt.comparison is not None and not attempt.comparison.won:
            raise ValueError(
                f"round {attempt.round} of trajectory {trajectory.id!r} was accepted, but its comparison says "
                f"{', '.join(attempt.comparison.answers)}, wanted new, new"
            )


def _weighted(sample: Sample, negative_weight: float) -> Sample:
    if sample.advantage >= 0:
        return sample
    return replace(sample, advantage=sample.advantage * negative_weight)


def _sample(attempt: Attempt, value: float, group: str) -> Sample:
    written = attempt.completion
    return Sample(
        prompt_ids=written.prompt_ids,
        token_ids=written.token_ids,
        logprobs=written.logprobs,
        advantage=value,
        truncated=written.finish == "length",
        group=group,
    )


def _lessons(groups: Sequence[Group]) -> list[FeedbackTarget]:
    """The critic's feedback on accepted pages, in rollout order."""
    return [
        FeedbackTarget(
            messages=review(group.task, attempt.page),
            target=feedback_text(attempt.critique.feedback),
        )
        for group in groups
        for trajectory in group.trajectories
        for attempt in trajectory.accepted
        if attempt.critique is not None and attempt.critique.feedback
    ]


def _hindsights(groups: Sequence[Group]) -> list[RevisionTarget]:
    """The accepted revisions that were not truncated, in rollout order."""
    return [
        RevisionTarget(
            prompt_ids=trajectory.accepted[0].completion.prompt_ids,
            shown_ids=attempt.completion.prompt_ids,
            token_ids=attempt.completion.token_ids,
        )
        for group in groups
        for trajectory in group.trajectories
        for attempt in trajectory.accepted[1:]
        if attempt.completion.finish == "stop"
    ]


def _some(found: Sequence[T], wanted: int, seed: int) -> tuple[T, ...]:
    """At most `wanted` items, sampled by seed, in their original order."""
    chosen = sorted(random.Random(seed).sample(range(len(found)), min(wanted, len(found))))
    return tuple(found[index] for index in chosen)
