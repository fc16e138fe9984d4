"""Who earned what: the advantage of each attempt of a group that carries a signal."""

from collections.abc import Iterator, Sequence

from learner import advantage
from learner.settings import LearnerSettings
from rollout.records import Attempt, Group, Trajectory

Credited = tuple[Attempt, float]


def credited(group: Group, settings: LearnerSettings) -> list[Credited]:
    """The attempts of a group that carry a signal, each with its advantage, credited as the settings say.

    `outcome`, `turn` and `page` credit accepted attempts; `siblings` every attempt that was judged. An attempt is
    worth its reward, less the penalty for its length where `overlong` is `soft`.
    """
    if settings.credit == "outcome":
        return list(_outcome(group, settings))
    if settings.credit == "siblings":
        return list(_siblings(group, settings))
    return list(_rounds(group, settings))


def worth(attempt: Attempt, settings: LearnerSettings) -> float:
    """What an attempt counts for: its reward, less the penalty for its length."""
    return attempt.total - settings.length_penalty(len(attempt.completion.token_ids))


def _outcome(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Every accepted turn carries the advantage of its trajectory's best page."""
    rewards = [worth(trajectory.accepted[-1], settings) for trajectory in group.trajectories]
    shared = _compared(rewards, settings) or []
    for trajectory, value in zip(group.trajectories, shared, strict=False):
        yield from ((attempt, value) for attempt in trajectory.accepted)


def _rounds(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Each accepted turn carries that of its own round: of what it added (`turn`), or of the level it reached."""
    values_G = [_levels(trajectory, settings) for trajectory in group.trajectories]
    if settings.credit == "turn":
        values_G = [_gains(levels) for levels in values_G]
    shared = advantage.turn(values_G, normalize_std=settings.normalize_std, baseline=_unordered(settings)) or []
    for trajectory, values in zip(group.trajectories, shared, strict=False):
        for turn, value in zip(trajectory.turns, values, strict=True):
            if turn.accepted is not None and value is not None:
                yield turn.accepted, value


def _siblings(group: Group, settings: LearnerSettings) -> Iterator[Credited]:
    """Attempts at one prompt are a group: the first pages of all trajectories, and each round's revisions."""
    firsts = [attempt for trajectory in group.trajectories for attempt in trajectory.turns[0].attempts]
    yield from _matched(firsts, _compared([worth(attempt, settings) for attempt in firsts], settings))
    for trajectory in group.trajectories:
        best = trajectory.turns[0].accepted
        for turn in trajectory.turns[1:]:
            judged = [attempt for attempt in turn.attempts if attempt.reward is not None]
            values = [worth(attempt, settings) for attempt in judged]
            if settings.baseline == "earlier" and best is not None:
                yield from _matched(judged, advantage.earlier(values, worth(best, settings)))
            else:
                yield from _matched(judged, _compared(values, settings))
            best = turn.accepted or best


def _matched(attempts: Sequence[Attempt], values: Sequence[float] | None) -> Iterator[Credited]:
    if values is not None:
        yield from zip(attempts, values, strict=True)


def _compared(rewards: Sequence[float], settings: LearnerSettings) -> list[float] | None:
    return advantage.outcome(rewards, normalize_std=settings.normalize_std, baseline=_unordered(settings))


def _unordered(settings: LearnerSettings) -> advantage.Baseline:
    """Pages that were not written one after another have none before them: the others stand in for those."""
    return "mean" if settings.baseline == "mean" else "leave_one_out"


def _levels(trajectory: Trajectory, settings: LearnerSettings) -> list[float]:
    """The worth of the best page after each round."""
    levels: list[float] = []
    for turn in trajectory.turns:
        levels.append(worth(turn.accepted, settings) if turn.accepted is not None else levels[-1])
    return levels


def _gains(levels: Sequence[float]) -> list[float]:
    """What each round added: the first page's worth, then the rise, 0 where nothing was accepted."""
    return [after - before for before, after in zip([0.0, *levels], levels, strict=False)]
