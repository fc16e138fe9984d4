"""Credit assignment: the advantage of each attempt of a group."""

from collections.abc import Iterator, Sequence

from learner.losses import advantage
from learner.settings import LearnerSettings
from rollout.records import Attempt, Group, Trajectory

Credited = tuple[Attempt, float]


def credited(group: Group, settings: LearnerSettings) -> list[Credited]:
    """Returns the attempts of a group that carry a signal, each with its advantage, according to `settings.credit`.

    `outcome`, `turn` and `page` credit accepted attempts; `siblings` credits every judged attempt. The value of an
    attempt is its reward minus the length penalty of `overlong = "soft"`.
    """
    if settings.credit == "outcome":
        return list(_outcome(group, settings))
    if settings.credit == "siblings":
        return list(_siblings(group, settings))
    if settings.credit == "page":
        return list(_pages(group, settings))
    return list(_turns(group, settings))


def has_signal(group: Group, settings: LearnerSettings) -> bool:
    """Whether a group carries a signal; groups with equal values in every comparison do not."""
    return any(value != 0 for _, value in credited(group, settings))


def shaped_reward(attempt: Attempt, settings: LearnerSettings) -> float:
    """Value of an attempt: its reward minus the length penalty."""
    return attempt.total - settings.length_penalty(len(attempt.completion.token_ids))


def _outcome(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Every accepted turn gets the advantage of its trajectory's best page."""
    rewards = [shaped_reward(trajectory.accepted[-1], settings) for trajectory in group.trajectories]
    shared = _compared(rewards, settings) or []
    for trajectory, value in zip(group.trajectories, shared, strict=False):
        yield from ((attempt, value) for attempt in trajectory.accepted)


def _turns(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Each accepted turn gets the advantage of its gain among the siblings' gains of the same round."""
    gains_G = [_gains(trajectory, settings) for trajectory in group.trajectories]
    shared = advantage.turn(gains_G, normalize_std=settings.normalize_std, baseline=_unordered(settings)) or []
    for trajectory, values in zip(group.trajectories, shared, strict=False):
        for turn, value in zip(trajectory.turns, values, strict=True):
            if turn.accepted is not None and value is not None:
                yield turn.accepted, value


def _pages(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Each accepted page is compared with all pages that the siblings wrote in its round, rejected ones included."""
    attempts = [attempt for trajectory in group.trajectories for turn in trajectory.turns for attempt in turn.attempts]
    for number in range(max((attempt.round for attempt in attempts), default=-1) + 1):
        judged = [attempt for attempt in attempts if attempt.round == number and attempt.reward is not None]
        matched = _matched(judged, _compared([shaped_reward(attempt, settings) for attempt in judged], settings))
        yield from ((attempt, value) for attempt, value in matched if attempt.verdict == "accepted")


def _siblings(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Groups attempts by prompt: the first pages of all trajectories, and the revisions of each round."""
    firsts = [attempt for trajectory in group.trajectories for attempt in trajectory.turns[0].attempts]
    yield from _matched(firsts, _compared([shaped_reward(attempt, settings) for attempt in firsts], settings))
    for trajectory in group.trajectories:
        best = trajectory.turns[0].accepted
        for turn in trajectory.turns[1:]:
            judged = [attempt for attempt in turn.attempts if attempt.reward is not None]
            values = [shaped_reward(attempt, settings) for attempt in judged]
            if settings.baseline == "earlier" and best is not None:
                yield from _matched(judged, advantage.earlier(values, shaped_reward(best, settings)))
            else:
                yield from _matched(judged, _compared(values, settings))
            best = turn.accepted or best


def _matched(attempts: Sequence[Attempt], values: Sequence[float] | None) -> Iterator[Credited]:
    if values is not None:
        yield from zip(attempts, values, strict=True)


def _compared(rewards: Sequence[float], settings: LearnerSettings) -> list[float] | None:
    return advantage.outcome(rewards, normalize_std=settings.normalize_std, baseline=_unordered(settings))


def _unordered(settings: LearnerSettings) -> advantage.Baseline:
    """Baseline for attempts without an order: `earlier` becomes `leave_one_out`."""
    return "mean" if settings.baseline == "mean" else "leave_one_out"


def _gains(trajectory: Trajectory, settings: LearnerSettings) -> list[float]:
    """Gain of each round: the first page's value, then the increase, 0 if nothing was accepted."""
    gains: list[float] = []
    best = 0.0
    for turn in trajectory.turns:
        level = shaped_reward(turn.accepted, settings) if turn.accepted is not None else best
        gains.append(level - best)
        best = level
    return gains
