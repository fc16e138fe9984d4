"""Canary checks: compare an engine's log-probs of a fixed token sequence with the learner's."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from rollout.errors import ModelError, SyncError

CANARY_TOKENS = 48
SMALLEST_VOCABULARY = 256
"""Token ids below this exist in every model; used when a configuration does not state `vocab_size`."""


def gap_of(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Largest absolute difference of two lists of log-probs, in nats."""
    return max(abs(mine - theirs) for mine, theirs in zip(found, wanted, strict=True))


def check_model(gap: float, max_gap: float, *, model: str, kind: str) -> None:
    """Raises ModelError when engine and learner, both loaded from `model`, differ by more than `max_gap` nats."""
    if not gap <= max_gap:
        raise ModelError(
            f"{model}: learner (transformers) and engine (vLLM) differ on this {kind} model by {gap:.2g} nats before "
            f"any update, wanted at most {max_gap:.0e}: their implementations differ, which no weight sync can fix; "
            "use another model, or raise cluster.max_logprob_gap if they compute in bfloat16"
        )


def check_sync(gap: float, max_gap: float, *, rank: int, version: int) -> None:
    """Raises SyncError when an engine's canary log-probs differ from the learner's after a weight sync."""
    if not gap <= max_gap:
        raise SyncError(
            f"policy-{rank} does not hold the learner's weights: after sync {version} its log-probs on the canary "
            f"sequence differ by {gap:.2e} nats, wanted at most {max_gap:.0e}; the run stops"
        )


def canary_sequence(model: Path) -> tuple[int, ...]:
    """The fixed token sequence that proves a weight sync; the ids are arbitrary but must never change."""
    config = json.loads((model / "config.json").read_text())
    vocabulary = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size", SMALLEST_VOCABULARY)
    draw = random.Random(0)
    return tuple(draw.randrange(vocabulary) for _ in range(CANARY_TOKENS))
