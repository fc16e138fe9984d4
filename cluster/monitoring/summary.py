"""Builds `summary.json`: the results of a run in machine-readable form."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.settings import RunSettings
from cluster.training.diagnosis import silent_steps
from cluster.training.metrics import mean
from cluster.training.state import RunState

LAST_STEPS = 3
"""`valid_render_rate.last` is the mean over this many last steps, because a single step is too noisy."""


def summarise(run_id: str, status: str, state: RunState, settings: RunSettings) -> dict[str, Any]:
    """The summary of a run; `status` is `finished`, `stopped` or `failed`."""
    history = state.history
    by_step = _column(history, "valid_render_rate")
    first, champion = (state.exams[0], state.champion) if state.exams else (None, None)
    seconds = {name: round(state.seconds.get(name, 0.0), 1) for name in ("setup", "warm_start", "train")}
    return {
        "run_id": run_id,
        "status": status,
        "steps": state.step,
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "valid_render_rate": {
            "first": by_step[0] if by_step else None,
            "last": mean(by_step[-LAST_STEPS:]) if by_step else None,
            "by_step": by_step,
        },
        "held_out": {
            "reward_before": first.mean if first else None,
            "reward_after": champion.mean if champion else None,
            "valid_before": first.valid if first else None,
            "valid_after": champion.valid if champion else None,
            "tasks": len(first.rewards) if first else 0,
        },
        "first_pages": _totals(history, "first_pages_"),
        "signal": {
            "steps_without": sum(row.get("signal_groups") == 0 for row in history),
            "steps_without_at_end": silent_steps(history),
            "flat_groups": _totals(history, "flat_groups_"),
            "reason": str(state.findings[0]) if state.findings and silent_steps(history) else "",
        },
        "forced_optimization": {
            "trajectories": int(sum(_column(history, "trajectories"))),
            "violations": int(sum(_column(history, "violations"))),
            "accept_rate": mean(_column(history, "accept_rate")),
            "mean_attempts": mean(_column(history, "attempts_mean")),
        },
        "weight_sync": {
            "count": len(history),
            "max_logprob_gap": max(_column(history, "sync_gap"), default=0.0),
            "seconds_mean": mean(_column(history, "seconds_sync")),
        },
        "episodes": {
            "finished": int(sum(_column(history, "trajectories"))),
            "machine_faults": int(sum(_column(history, "machine_faults"))),
            "dropped": int(sum(_column(history, "dropped"))),
            "faults": _totals(history, "faults_"),
        },
        "throughput": {
            name: mean(_column(history, name)) for name in ("tokens_per_s", "pages_per_s", "trajectories_per_s")
        },
        "inference": {name: dict(state.inference.get(name, {})) for name in ("base", "self_edit", "with_critic")},
    }


def _totals(history: Sequence[Mapping[str, float]], prefix: str) -> dict[str, int]:
    """Sums the counts with a name prefix over all steps, without zeros."""
    totals = Counter[str]()
    for row in history:
        totals.update({name.removeprefix(prefix): int(row[name]) for name in row if name.startswith(prefix)})
    return {name: count for name, count in totals.items() if count}


def _column(history: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [row[name] for row in history if name in row]
