"""One rank of a learner, in a separate process: `two_ranks.py MODEL RANK RANKS ADDRESS OUT`.

Two ranks make the same three updates with all settings that must equal a plain loop; one rank and two ranks make them
with settings whose result must not depend on the number of ranks. Writes weights, gradients and metrics.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from tiny_batches import LESSONS, hindsights, samples, siblings

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.records import Batch

SETTINGS = LearnerSettings(lr=1e-4, token_budget=128, autocast=False, threads=1)
# One sample in the second batch: with two ranks, one rank has no work but must take part in collectives.
BATCHES = (
    Batch(samples=samples(), lessons=LESSONS),
    Batch(samples=samples(1, seed=9)),
    Batch(samples=(*samples(5, seed=3), *siblings(3, seed=4)), lessons=LESSONS[:1]),
)
SAME: dict[str, dict[str, Any]] = {
    "1": {"zero_stage": 1},
    "2": {"zero_stage": 2},
    "3": {"zero_stage": 3},
    "2 offload": {"zero_stage": 2, "offload": "optimizer"},
    "3 offload": {"zero_stage": 3, "offload": "all"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "kl": {"zero_stage": 3, "loss": "gspo", "rollout_level": "sequence", "epochs": 2, "kl_weight": 0.5},
    "lora 1": {"zero_stage": 1, "lora_rank": 4, "kl_weight": 0.5},
    "lora 3": {"zero_stage": 3, "lora_rank": 4, "kl_weight": 0.5},
}


def moments(engine: Engine) -> dict[str, torch.Tensor]:
    """AdamW's running mean of each weight's gradient, gathered from all ranks."""
    from deepspeed.utils import safe_get_full_optimizer_state

    return {name: safe_get_full_optimizer_state(p, "exp_avg").clone() for name, p in engine.module.named_parameters()}


def learn(engine: Engine, batches: tuple[Batch, ...], watch: bool) -> dict[str, Any]:
    """The metrics and gradients of every update, and the weights after them."""
    metrics, gradients, decay = [], [], engine.settings.betas[0]
    before: dict[str, torch.Tensor] = {}
    for batch in batches:
        metrics.append(engine.update(batch).metrics)
        if watch:
            # m' = β m + (1 − β) g, so this is the gradient that AdamW received.
            after = moments(engine)
            gradients.append({name: (m - decay * before.get(name, 0)) / (1 - decay) for name, m in after.items()})
            before = after
    blob = engine.weights()
    return {"metrics": metrics, "gradients": gradients, "weights": load(blob) if blob else {}}


def main() -> None:
    """Runs the rank."""
    torch.set_num_threads(1)
    model, rank, ranks, out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[5])
    results = {}
    for name, changes in {**(SAME if ranks > 1 else {}), **OTHERS}.items():
        settings = SETTINGS.model_copy(update={"ranks": ranks, **changes})
        engine = Engine(model, settings, rank=rank, world_size=ranks, init_method=sys.argv[4])
        seen = hindsights()
        seen += (replace(seen[0], token_ids=seen[1].token_ids),)
        first = Batch(samples=samples(), hindsights=seen) if name == "kl" else BATCHES[0]
        results[name] = learn(engine, (first, *BATCHES[1:]), watch=name in SAME)
    if rank == 0:
        torch.save(results, out / f"{ranks}.pt")
    engine.close()


if __name__ == "__main__":
    main()
