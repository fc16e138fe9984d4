"""Metrics of a step: pure functions of its groups, update, sync and pool busy times."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from cluster.settings import RunSettings
from rollout.acceptance import violations
from rollout.records import Attempt, Comparison, Critique, Group, Trajectory, Update


def mean(values: Sequence[float]) -> float:
    """The mean; 0.0 for an empty sequence."""
    return fmean(values) if values else 0.0


def step_metrics(groups: Sequence[Group], *, version: int, seconds: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a step's groups.

    `version` is that of the weights the update starts from (staleness is relative to it); `seconds` is wall time by
    stage: `play`, `learn`, `sync`. `seconds_generate`, `seconds_render`, `seconds_judge` and `seconds_wait` (for a free
    browser or critic) divide `play` in proportion to the episodes' time per stage. `busy_browser`, `busy_policy` and
    `busy_critic` are seconds of work, summed over a pool.
    """
    trajectories = [trajectory for group in groups for trajectory in group.trajectories]
    attempts = [a for trajectory in trajectories for turn in trajectory.turns for a in turn.attempts]
    first = [trajectory.turns[0].attempts[0] for trajectory in trajectories]
    stale = [version - trajectory.oldest_version for trajectory in trajectories]
    play_s = max(seconds.get("play", 0.0), 1e-9)
    tokens = sum(len(attempt.completion.token_ids) for attempt in attempts)
    return {
        "batch_id": batch_id(groups),
        "valid_render_rate": mean([float(attempt.outcome == "ok") for attempt in first]),
        "reward_first": mean([attempt.total for attempt in first]),
        "reward_best": mean([trajectory.reward for trajectory in trajectories]),
        "reward_valid": mean([attempt.total for attempt in first if attempt.outcome == "ok"]),
        **_parts(first),
        **_rounds(trajectories),
        **{f"outcome_{name}": count / len(first) for name, count in Counter(a.outcome for a in first).items()},
        **_flags(attempts),
        **_judged(attempts),
        "violations": sum(violations([a.total for a in trajectory.accepted]) for trajectory in trajectories),
        "trajectories": len(trajectories),
        "dropped": sum(group.dropped for group in groups),
        "machine_faults": sum(group.dropped for group in groups) + sum(t.retries for t in trajectories),
        "staleness": mean(stale),
        "staleness_max": max(stale, default=0),
        "tokens_mean": mean([len(attempt.completion.token_ids) for attempt in attempts]),
        "context_full": mean([float(trajectory.context_full) for trajectory in trajectories]),
        "truncated": mean([float(attempt.completion.finish == "length") for attempt in attempts]),
        "pages": sum(attempt.render is not None for attempt in attempts),
        "tokens": tokens,
        "tokens_per_s": tokens / play_s,
        "pages_per_s": sum(attempt.render is not None for attempt in attempts) / play_s,
        "trajectories_per_s": len(trajectories) / play_s,
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "seconds_step": sum(seconds.values()),
        **_stage_seconds(attempts, play_s),
        **_busy(groups, attempts),
    }


def batch_id(groups: Sequence[Group]) -> int:
    """Identifies a step's training data: 52 bits (exact in a float) of a hash of its episodes and their tokens."""
    digest = hashlib.sha256()
    for trajectory in (trajectory for group in groups for trajectory in group.trajectories):
        digest.update(trajectory.id.encode())
        for attempt in (attempt for turn in trajectory.turns for attempt in turn.attempts):
            ids = attempt.completion.token_ids
            digest.update(array("q", (attempt.round, attempt.index, len(ids), *ids)).tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 12


def update_metrics(update: Update) -> dict[str, float]:
    """The learner's metrics, renamed where they would collide with a step's."""
    return {f"learner_{name}" if name in {"seconds", "tokens"} else name: v for name, v in update.metrics.items()}


def pool_sizes(settings: RunSettings) -> dict[str, int]:
    """Number of actors in each pool."""
    return {
        "browser": settings.browser.count,
        "policy": settings.policy.engines,
        "critic": settings.critic.count,
        "learner": settings.learner.ranks,
    }


def pool_metrics(row: dict[str, float], settings: RunSettings) -> dict[str, float]:
    """Busy seconds and idle share of each pool over a step: 1 − busy seconds / (wall seconds · pool size).

    All learner ranks count as busy during the update. A critic runs up to `critic.at_once` judgments concurrently.
    """
    sizes = pool_sizes(settings)
    wall_s = max(row["seconds_step"], 1e-9)
    at_once = settings.critic.at_once
    busy = {f"busy_{name}": row[f"busy_{name}"] for name in sizes if f"busy_{name}" in row}
    busy |= {"busy_learner": row["seconds_learn"] * sizes["learner"], "busy_critic": row["busy_critic"] / at_once}
    idle = {
        name: max(0.0, 1 - busy[f"busy_{name}"] / (wall_s * sizes[name])) for name in sizes if f"busy_{name}" in busy
    }
    return busy | {f"idle_{name}": share for name, share in idle.items()}


def _flags(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Share of rendered pages with each flag, and with any (`flagged`): a rising share indicates reward hacking."""
    renders = [attempt.render for attempt in attempts if attempt.render is not None]
    counted = Counter(flag for render in renders for flag in render.flags)
    shares = {f"flag_{name}": count / len(renders) for name, count in sorted(counted.items())}
    return {"flagged": mean([float(bool(render.flags)) for render in renders]), **shares}


def _parts(attempts: Sequence[Attempt]) -> dict[str, float]:
    rewards = [attempt.reward for attempt in attempts if attempt.reward is not None and attempt.reward.gate]
    probed = [reward.interaction for reward in rewards if reward.interaction is not None]
    return {
        "part_visual": mean([reward.visual for reward in rewards]),
        "part_interaction": mean(probed),
        "part_format": mean([reward.format for reward in rewards]),
    }


def _rounds(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Acceptance over revision rounds: attempt and round acceptance rates, attempts per round, mean gain."""
    turns = [(trajectory, turn) for trajectory in trajectories for turn in trajectory.turns[1:]]
    judged = [sum(attempt.verdict != "unused" for attempt in turn.attempts) for _, turn in turns]
    gains = [
        turn.accepted.total - trajectory.accepted[turn.round - 1].total
        for trajectory, turn in turns
        if turn.accepted is not None
    ]
    accepted = sum(turn.accepted is not None for _, turn in turns)
    return {
        "accept_rate": accepted / sum(judged) if sum(judged) else 0.0,
        "round_accept_rate": accepted / len(turns) if turns else 0.0,
        "attempts_mean": mean(judged),
        "gain_per_round": mean(gains),
    }


def _judged(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Judge tokens of a step; if pages were compared, also the number of comparisons and the share won."""
    compared = [attempt.comparison for attempt in attempts if attempt.comparison is not None]
    critiques = [attempt.critique for attempt in attempts if attempt.critique is not None]
    counted: dict[str, float] = {"judge_tokens": _tokens(critiques) + _tokens(compared)}
    if compared:
        counted |= {"compared": len(compared), "preferred_rate": mean([float(one.won) for one in compared])}
    return counted


def _tokens(said: Sequence[Critique] | Sequence[Comparison]) -> int:
    return sum(one.tokens for one in said)


def _stage_seconds(attempts: Sequence[Attempt], play_s: float) -> dict[str, float]:
    """Time per stage, and the mean number of episodes waiting in each queue (Little's law)."""
    stages = {
        name: sum(attempt.seconds.get(name, 0.0) for attempt in attempts) for name in ("generate", "render", "judge")
    }
    spent = stages | {"render": sum(map(render_s, attempts)), "judge": sum(map(judge_s, attempts))}
    queues = {"browser": stages["render"] - spent["render"], "critic": stages["judge"] - spent["judge"]}
    spent["wait"] = sum(queues.values())
    total = sum(spent.values()) or 1.0
    return {
        **{f"seconds_{name}": play_s * value / total for name, value in spent.items()},
        **{f"mean_{name}_s": value / max(1, len(attempts)) for name, value in stages.items()},
        **{f"queue_{name}": value / play_s for name, value in queues.items()},
        "queue_policy": stages["generate"] / play_s,
    }


def render_s(attempt: Attempt) -> float:
    """Browser seconds while this attempt waited for its render; 0 for a cached render."""
    return min(attempt.seconds.get("render", 0.0), attempt.render.seconds if attempt.render is not None else 0.0)


def judge_s(attempt: Attempt) -> float:
    """Critic seconds while this attempt waited for its judgment and its comparison."""
    worked_s = sum(said.seconds for said in (attempt.critique, attempt.comparison) if said is not None)
    return min(attempt.seconds.get("judge", 0.0), worked_s)


def _busy(groups: Sequence[Group], attempts: Sequence[Attempt]) -> dict[str, float]:
    """Busy seconds per pool, summed over its actors.

    A page shared by several attempts counts once. Reference renders are not measured: each group with a reference
    counts as one render of mean cost. `busy_policy` is omitted when engines do not report busy time.
    """
    renders: dict[tuple[str, float], float] = {}
    for attempt in attempts:
        if attempt.render is not None:
            key = (attempt.render.page_sha256, attempt.render.seconds)
            renders[key] = max(renders.get(key, 0.0), render_s(attempt))
    references = sum(group.task.reference_html is not None for group in groups)
    engine_s = sum(attempt.completion.engine_seconds for attempt in attempts)
    return {
        "busy_browser": sum(renders.values()) + references * mean(list(renders.values())),
        "busy_critic": sum(map(judge_s, attempts)),
        **({"busy_policy": engine_s} if engine_s else {}),
    }
