"""The summary of a fine-tuning, `summary.json`."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from cluster.supervised.training import HELD_OUT
from learner.supervised.examples import FORMS

FIELDS = (*FORMS, "loss")


def summarise(
    *,
    run_id: str,
    status: str,
    model: str,
    history: Sequence[Mapping[str, float]],
    seconds: Mapping[str, float],
    corpus: Mapping[str, Any],
    held_out_tasks: int,
    samples: Mapping[str, Any],
) -> dict[str, Any]:
    """Builds the summary. Losses are in nats per answer token, `loss` over all forms."""
    evaluated = [row for row in history if f"{HELD_OUT}loss" in row]
    updates = [row for row in history if row["step"] > 0]
    losses = {when: _losses(evaluated[at]) for when, at in (("before", 0), ("after", -1)) if evaluated}
    return {
        "run_id": run_id,
        "status": status,
        "model": model,
        "steps": len(updates),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "corpus": dict(corpus),
        "held_out": {"tasks": held_out_tasks, **losses},
        "samples": dict(samples),
        "throughput": {
            "tokens_per_s": median(row["tokens_per_s"] for row in updates) if updates else 0.0,
            "peak_memory_gib": max((row.get("peak_memory_gib", 0.0) for row in history), default=0.0),
        },
    }


def _losses(row: Mapping[str, float]) -> dict[str, float]:
    return {name: row[HELD_OUT + name] for name in FIELDS if HELD_OUT + name in row}
