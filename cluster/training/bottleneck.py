"""What holds a step up and what would make it faster: a model of a step's wall time, and one line of advice.

A pool of `m` actors that has `b` seconds of work to do in a step takes `b / m` at least; so does every other pool, side
by side, and so do the processors they share when all of them are on one machine. What a step took beyond the slowest of
these is its fill: until every pool has something to do, and until the last episode is over.

    on-policy   step = max(b / m) + fill + learn + sync
    streaming   step = max(max(b / m), learn + sync) + fill        where the next step's episodes hide the fill

The model knows no communication between learner ranks, and no engine that is faster for writing more at once.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.settings import RunSettings
from cluster.training.metrics import mean, pool_sizes

LAST_STEPS = 10
"""Costs are means of so many last steps: a policy that learns writes longer pages than it did at first."""
WORTH_IT = 0.03
"""Share of a step below which a saving is not worth a word."""
USED_UP = 0.97
"""Share of the processors' time above which they count as used up: a stream on two of them, measured, had no more."""
KEEPING_UP = 0.8
"""A pool whose work comes in bursts needs some room to catch up in."""
CORES = "cores"
NOUNS = {"browser": "browser", "policy": "policy engine", "critic": "critic", "learner": "learner rank"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a step takes, in seconds."""

    busy: Mapping[str, float]
    """Work of the pools that play, had they processors enough, summed over a pool: `browser`, `policy`, `critic`."""
    busy_learner: float
    """Wall seconds of the update times the learner's ranks."""
    sync_s: float
    fill_s: float = 0.0
    cores_play_s: float = 0.0
    """Wall seconds that playing takes the processors all share at least; 0 where pools have machines of their own."""
    cores_learn_s: float = 0.0
    """The same for the update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A step as the model sees it, in wall seconds."""

    play_s: float
    """As long as playing takes by itself; in a stream most of it passes while the learner works."""
    learn_s: float
    sync_s: float
    step_s: float
    needs: Mapping[str, float]
    """What each pool and the shared processors (`cores`) need by themselves."""

    @property
    def holds_up(self) -> str:
        """The pool, or `cores`, that playing waits for."""
        return max(self.needs, key=self.needs.__getitem__)


def measure(history: Sequence[Mapping[str, float]], settings: RunSettings, cores: int | None = None) -> Costs:
    """Costs from the last steps of a run with these settings.

    `cores` are those of the machine it ran on, by default this one's; they count where the run's rows do not say how
    many processors there were. Raises ValueError when no step was accounted for.
    """
    rows = [row for row in history if "busy_browser" in row][-LAST_STEPS:]
    if not rows:
        raise ValueError(
            f"none of {len(history)} steps says what its pools did (busy_browser); costs need one that does"
        )
    sizes = pool_sizes(settings)
    play_s, learn_s, sync_s = (_mean(rows, f"seconds_{name}") for name in ("play", "learn", "sync"))
    busy = {name: _mean(rows, f"busy_{name}") for name in ("browser", "policy", "critic")}
    busy["policy"] = busy["policy"] or _queueing(_mean(rows, "queue_policy"), sizes["policy"]) * play_s
    at_work = sum(busy.values()) / max(play_s, 1e-9)
    num = rows[-1].get("cores", cores or os.cpu_count() or 1)
    share = 0.0 if settings.cluster.roles else _cores_share(rows, at_work, num)
    # Whoever waits for a processor counts as at work: alone, a pool would take so much less.
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
    """A step with pools of these sizes."""
    needs = {name: busy / sizes[name] for name, busy in costs.busy.items()} | {CORES: costs.cores_play_s}
    learn_s = max(costs.busy_learner / sizes["learner"], costs.cores_learn_s)
    play_s, update_s = max(needs.values()) + costs.fill_s, learn_s + costs.sync_s
    shared_s = costs.cores_play_s + costs.cores_learn_s + costs.sync_s
    step_s = max(play_s, update_s, shared_s) if max_staleness else play_s + update_s
    return Forecast(play_s=play_s, learn_s=learn_s, sync_s=costs.sync_s, step_s=step_s, needs=needs)


def advise(costs: Costs, sizes: Mapping[str, int], max_staleness: int) -> str:
    """One line: the one change that would save most of a step, or why there is none."""
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
    """The line of advice for a run; empty as long as no step is accounted for."""
    if not any("busy_browser" in row for row in history):
        return ""
    return advise(measure(history, settings), pool_sizes(settings), settings.max_staleness)


def balance(costs: Costs, sizes: Mapping[str, int], max_staleness: int) -> dict[str, int]:
    """Sizes at which browsers and critics keep up with the policy engines, which cost most, and no larger.

    They keep up when they need at most KEEPING_UP of what the slowest of the others needs: the engines, the processors
    that all share, in a stream the learner too.
    """
    now = forecast(costs, sizes, max_staleness)
    pace_s = max(now.needs["policy"], now.needs[CORES], now.learn_s + now.sync_s if max_staleness else 0.0)
    fitting = {
        name: max(1, -int(-costs.busy[name] // max(KEEPING_UP * pace_s, 1e-9))) for name in ("browser", "critic")
    }
    return {**sizes, **fitting}


def _grow(costs: Costs, sizes: Mapping[str, int], max_staleness: int, name: str, now: Forecast) -> tuple[float, str]:
    """What more of one pool would save, and how many: as few as bring nine tenths of what twice as many would."""

    def saved_s(more: int) -> float:
        return now.step_s - forecast(costs, {**sizes, name: sizes[name] + more}, max_staleness).step_s

    most_s = saved_s(sizes[name])
    more = next(num for num in range(1, sizes[name] + 1) if saved_s(num) >= 0.9 * most_s)
    return saved_s(more), f"{NOUNS[name]}s are the bottleneck: {more} more would save"


def _queueing(present: float, engines: int) -> float:
    """Engines at work, from the mean number of completions they have: an engine shares itself out among n.

    Where no engine says how busy it was: n / (1 + n) is the load of an M/M/1 queue with so many in it.
    """
    return engines * present / (engines + present) if present else 0.0


def _cores_share(rows: Sequence[Mapping[str, float]], at_work: float, cores: float) -> float:
    """Share of the processors in use; where nobody looked, as many as had an actor at work."""
    if "cpu_busy" in rows[-1]:
        return _mean(rows, "cpu_busy")
    return min(1.0, at_work / cores)


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return mean([row[name] for row in rows if name in row])
