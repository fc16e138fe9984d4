"""Reads the results of a finished run from its folder, measured in the same way for all variants.

A variant may train with another reward (without the zero rule, a broken page keeps part of its reward). To make
variants comparable, every reward here follows the zero rule: 0 for a page with gate 0.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.monitoring.summary import LAST_STEPS
from cluster.storage.store import Store, read_groups
from cluster.training.metrics import mean
from rollout.errors import CheckpointError
from rollout.records import Attempt, Trajectory

CURVES = ("step", "valid_render_rate")


@dataclass(frozen=True, kw_only=True)
class ExamScores:
    """Results of one exam by task: reward of the first page and whether it rendered validly."""

    rewards: Mapping[str, float]
    valid: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Revised:
    """Mean rewards of first pages and their revisions before selection, over the last LAST_STEPS steps."""

    page: float
    """The first pages that were revised."""
    attempt: float
    """The first revision attempt of each page."""
    best: float
    """The best of all revision attempts of each page."""
    better: float
    """Share of first attempts that are better than their page."""
    after_zero: float | None
    """First revision attempts of pages that earned 0, or None. A policy that writes a new page instead of revising
    scores as well here as elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run of a variant with a seed."""

    variant: str
    seed: int
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    """Metrics that are drawn as curves, one mapping a step."""
    before: ExamScores
    """Held-out tasks before training: the base policy."""
    after: ExamScores
    """Held-out tasks after the last step, not with the champion, which was selected on these tasks."""
    rounds: Sequence[float]
    """Mean reward of the best page after each round, over the episodes of the last LAST_STEPS steps."""
    revised: Revised | None
    """None if no page was revised."""
    code_version: str

    @property
    def edit_rounds(self) -> int:
        """Rounds of self-edit in the inference table."""
        return sum(name.startswith("reward_") for name in self.summary["inference"]["self_edit"])

    def inference(self, row: str, column: str = "reward") -> float:
        """A value of the inference table."""
        return float(self.summary["inference"][row][column])


def read_result(path: Path, variant: str, seed: int) -> Result:
    """Reads a finished run from its folder. Raises CheckpointError when a file is missing or damaged."""
    store = Store(path)
    summary, about = store.read_json("summary.json"), store.read_json("run.json")
    try:
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        history = [{name: line[name] for name in CURVES} for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path / 'metrics.jsonl'}: not readable ({error})") from None
    steps = int(summary["steps"])
    last = range(max(1, steps - LAST_STEPS + 1), steps + 1)
    played = [group for step in last for group in store.read_groups(step) or ()]
    episodes = [trajectory for group in played for trajectory in group.trajectories]
    return Result(
        variant=variant,
        seed=seed,
        summary=summary,
        history=history,
        before=read_exam(store.exam_file(0)),
        after=read_exam(store.exam_file(steps)),
        rounds=standing(episodes, int(about["settings"]["episode"]["rounds"])),
        revised=first_revisions(episodes),
        code_version=str(about["code_version"]),
    )


def read_exam(path: Path) -> ExamScores:
    """Reads the results of one exam. Raises CheckpointError."""
    sat = {group.task.id: group.trajectories[0].turns[0].attempts[0] for group in read_groups(path)}
    return ExamScores(
        rewards={task: strict(attempt) for task, attempt in sat.items()},
        valid={task: float(attempt.outcome == "ok") for task, attempt in sat.items()},
    )


def standing(episodes: Sequence[Trajectory], rounds: int) -> list[float]:
    """Mean reward of the current page after round 0, 1, … `rounds`.

    A round leaves the page unchanged if it accepted nothing, or was not played because the previous one accepted
    nothing.
    """
    rows: list[list[float]] = []
    for episode in episodes:
        stood: list[float] = []
        for number in range(rounds + 1):
            turn = episode.turns[number] if number < len(episode.turns) else None
            accepted = turn.accepted if turn is not None else None
            stood.append(strict(accepted) if accepted is not None else stood[-1])
        rows.append(stood)
    return [mean(column) for column in zip(*rows, strict=True)]


def first_revisions(episodes: Sequence[Trajectory]) -> Revised | None:
    """Statistics of the first revision round. Later rounds revise selected pages, which biases the page's reward
    upwards."""
    pairs = []
    for episode in episodes:
        first, attempts = episode.turns[0].accepted, episode.turns[1].attempts if len(episode.turns) > 1 else ()
        if first is not None and attempts:
            pairs.append((strict(first), [strict(attempt) for attempt in attempts]))
    if not pairs:
        return None
    after_zero = [rewards[0] for page, rewards in pairs if page == 0]
    return Revised(
        page=mean([page for page, _ in pairs]),
        attempt=mean([rewards[0] for _, rewards in pairs]),
        best=mean([max(rewards) for _, rewards in pairs]),
        better=mean([float(rewards[0] > page) for page, rewards in pairs]),
        after_zero=mean(after_zero) if after_zero else None,
    )


def strict(attempt: Attempt) -> float:
    """The reward of a judged page under the zero rule."""
    return attempt.total if attempt.reward is not None and attempt.reward.gate else 0.0
