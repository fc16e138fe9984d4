"""Bottleneck model: predicts the wall time of a step from pool sizes, and advises on the best change.

A pool of `m` actors with `b` seconds of work per step needs at least `b / m`; pools, and processors shared on one
machine, work concurrently. The rest of the measured time is `fill`: until every pool has work, and until the last
episode ends.

    on-policy   step = max(b / m) + fill + learn + sync
    streaming   step = max(max(b / m), learn + sync) + fill        where the next step's episodes hide the fill

Ignored: communication between learner ranks, and the higher throughput of engines with larger batches.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.settings import RunSettings
from cluster.training.metrics import mean, pool_sizes

LAST_STEPS = 10
"""Number of last steps over which costs are averaged: page lengths change as the policy learns."""
WORTH_IT = 0.03
"""Savings below this share of a step are not reported."""
USED_UP = 0.97
"""Share of processor time above which processors count as saturated; the maximum measured for a stream on two cores."""
KEEPING_UP = 0.8
"""Target load of browsers and critics relative to the slowest other pool: work arrives in bursts."""
CORES = "cores"
NOUNS = {"browser": "browser", "policy": "policy engine", "critic": "critic", "learner": "learner rank"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Measured work of a step, in seconds."""

    busy: Mapping[str, float]
    """Work summed over each pool that plays (`browser`, `policy`, `critic`), as if enough processors were available."""
    busy_learner: float
    """Wall seconds of the update times the number of learner ranks."""
    sync_s: float
    fill_s: float = 0.0
    cores_play_s: float = 0.0
    """Minimum wall seconds of playing on the shared processors; 0 when pools have machines of their own."""
    cores_learn_s: float = 0.0
    """The same for the update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Predicted wall seconds of a step."""

    play_s: float
    """Duration of playing alone; with streaming, most of it overlaps with the learner."""
    learn_s: float
    sync_s: float
    step_s: float
    needs: Mapping[str, float]
    """Seconds that each pool, and the shared processors (`cores`), would need alone."""

    @property
    def holds_up(self) -> str:
        """The bottleneck of playing: a pool, or `cores`."""
        return max(self.needs, key=self.needs.__getitem__)


def measure(history: Sequence[Mapping[str, float]], settings: RunSettings, cores: int | None = None) -> Costs:
    """Computes costs from the last steps of a run with these settings.

    `cores` is the number of processors of the machine it ran on (default: this machine's), used when the metric rows do
    not contain it. Raises ValueError when no step has pool metrics.
    """
    rows = [row for row in history if "busy_browser" in row][-LAST_STEPS:]
    if not rows:
        raise ValueError(f"none of {len(history)} steps has pool metrics (busy_browser); costs need at least one")
    sizes = pool_sizes(settings)
    play_s, learn_s, sync_s = (_mean(rows, f"seconds_{name}") for name in ("play", "learn", "sync"))
    busy = {name: _mean(rows, f"busy_{name}") for name in ("browser", "policy", "critic")}
    busy["policy"] = busy["policy"] or _queueing(_mean(rows, "queue_policy"), sizes["policy"]) * play_s
    at_work = sum(busy.values()) / max(play_s, 1e-9)
    num = rows[-1].get("cores", cores or os.cpu_count() or 1)
    share = 0.0 if settings.cluster.roles else _cores_share(rows, at_work, num)
    # Actors waiting for a processor count as busy: remove this factor from the work.
    crowd = max(1.0, at_work / (share * num)) if share else 1.0
    busy = {name: work / crowd for name, work in busy.items()}
    used = min(1.0, share / USED_UP)
    costs = Costs(
        busy=busy,
        busy_learner=learn_s * sizes["learner"],
        sync_s=sync_s,
        cores_play_s=used * play_s,
        cores_learn_s=used * learn_s,
    )
    bare = forecast(costs, sizes, settings.max_staleness)
    return replace(costs, fill_s=max(0.0, play_s + learn_s + sync_s - bare.step_s))


def forecast(costs: Costs, sizes: Mapping[str, int], max_staleness: int) -> Forecast:
    """Predicts a step with pools of these sizes."""
    needs = {name: busy / sizes[name] for name, busy in costs.busy.items()} | {CORES: costs.cores_play_s}
    learn_s = max(costs.busy_learner / sizes["learner"], costs.cores_learn_s)
    play_s = max(needs.values()) + costs.fill_s
    update_s = learn_s + costs.sync_s
    shared_s = costs.cores_play_s + costs.cores_learn_s + costs.sync_s
    step_s = max(play_s, update_s, shared_s) if max_staleness else play_s + update_s
    return Forecast(play_s=play_s, learn_s=learn_s, sync_s=costs.sync_s, step_s=step_s, needs=needs)


def advise(costs: Costs, sizes: Mapping[str, int], max_staleness: int) -> str:
    """One line of advice: the change that would save most of a step, or why none would."""
    now = forecast(costs, sizes, max_staleness)
    options = [_grow(costs, sizes, max_staleness, name, now) for name in sizes]
    if max_staleness == 0:
        streamed_s = now.step_s - forecast(costs, sizes, 1).step_s
        options.append(
            (streamed_s, "playing and learning take turns: max_staleness = 1 would let them overlap and save")
        )
    saved_s, words = max(options)
    if saved_s >= WORTH_IT * now.step_s:
        return f"{words} {saved_s:.1f} s of the {now.step_s:.1f} s a step takes"
    if now.holds_up == CORES:
        return (
            "the processors that all share are the bottleneck: more actors on this machine save nothing, more cores do"
        )
    return f"pools are in balance: twice as many of any would save less than {WORTH_IT:.0%} of a step"


def advice(history: Sequence[Mapping[str, float]], settings: RunSettings) -> str:
    """The line of advice for a run; empty while no step has pool metrics."""
    if not any("busy_browser" in row for row in history):
        return ""
    return advise(measure(history, settings), pool_sizes(settings), settings.max_staleness)


def balance(costs: Costs, sizes: Mapping[str, int], max_staleness: int) -> dict[str, int]:
    """The smallest numbers of browsers and critics that keep up with the policy engines, which cost most.

    They keep up when they need at most KEEPING_UP of the time of the slowest of the others: the engines, the shared
    processors and, with streaming, the learner.
    """
    now = forecast(costs, sizes, max_staleness)
    pace_s = max(now.needs["policy"], now.needs[CORES], now.learn_s + now.sync_s if max_staleness else 0.0)
    fitting = {
        name: max(1, -int(-costs.busy[name] // max(KEEPING_UP * pace_s, 1e-9))) for name in ("browser", "critic")
    }
    return {**sizes, **fitting}


def _grow(costs: Costs, sizes: Mapping[str, int], max_staleness: int, name: str, now: Forecast) -> tuple[float, str]:
    """Seconds saved by growing one pool, and the smallest growth that saves nine tenths of what doubling it would."""

    def saved_s(more: int) -> float:
        return now.step_s - forecast(costs, {**sizes, name: sizes[name] + more}, max_staleness).step_s

    most_s = saved_s(sizes[name])
    more = next(num for num in range(1, sizes[name] + 1) if saved_s(num) >= 0.9 * most_s)
    return saved_s(more), f"{NOUNS[name]}s are the bottleneck: {more} more would save"


def _queueing(present: float, engines: int) -> float:
    """Busy engines estimated from the mean number of running completions, when engines do not report busy time.

    Per engine, n / (1 + n) is the load of an M/M/1 queue with n requests in it.
    """
    return engines * present / (engines + present) if present else 0.0


def _cores_share(rows: Sequence[Mapping[str, float]], at_work: float, cores: float) -> float:
    """Share of the processors in use; if it was not measured, busy actors per processor, at most 1."""
    if "cpu_busy" in rows[-1]:
        return _mean(rows, "cpu_busy")
    return min(1.0, at_work / cores)


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return mean([row[name] for row in rows if name in row])
