"""Synthetic groups of trajectories for tests: only rewards and rounds matter."""

from collections.abc import Sequence
from dataclasses import replace

from rollout.acceptance import first_improvement
from rollout.records import (
    Attempt,
    Completion,
    Critique,
    Group,
    Page,
    Reward,
    Task,
    Trajectory,
    Turn,
    VersionSpan,
)


def attempt(round_: int, reward: float, *, accepted: bool = True, finish: str = "stop", feedback: str = "") -> Attempt:
    """An attempt whose token ids encode its round and reward."""
    return Attempt(
        round=round_,
        index=0,
        completion=Completion(
            prompt_ids=(1, round_),
            token_ids=(int(reward * 100), 7),
            logprobs=(-0.5, -0.25),
            text="",
            finish=finish,  # type: ignore[arg-type]
            versions=(VersionSpan(version=0, start=0, end=2),),
        ),
        page=Page(html=f"<p>{reward}</p>"),
        verdict="accepted" if accepted else "not_better",
        reward=Reward(total=reward, gate=1),
        critique=Critique(score=reward, feedback=(feedback,) if feedback else (), judge="test"),
    )


def played_round(number: int, rewards: Sequence[float | None], *, best: float) -> Turn:
    """A round with these rewards, None for an unjudged attempt; the first that improves on `best` is accepted."""
    judged = [-1.0 if reward is None else reward for reward in rewards]
    success = first_improvement(judged, best)
    ended = len(rewards) if success is None else success + 1
    return Turn(
        round=number,
        attempts=tuple(
            replace(attempt(number, reward, accepted=index == success), index=index)
            if index < ended
            else replace(attempt(number, 0.0), index=index, verdict="unused", reward=None, critique=None)
            for index, reward in enumerate(judged)
        ),
    )


def group(name: str, *siblings: Sequence[Attempt] | Sequence[Turn]) -> Group:
    """A group of siblings, each a list of rounds; an attempt is a round with one attempt."""
    task = Task(id=name, brief=f"Build {name}.")
    trajectories = tuple(
        Trajectory(id=f"{name}/{i}", task=task, turns=tuple(map(_turn, rounds))) for i, rounds in enumerate(siblings)
    )
    return Group(task=task, trajectories=trajectories)


def _turn(played: Attempt | Turn) -> Turn:
    return played if isinstance(played, Turn) else Turn(round=played.round, attempts=(played,))
