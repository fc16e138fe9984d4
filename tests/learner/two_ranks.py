"""One rank of a learner, in a process of its own: `two_ranks.py MODEL RANK RANKS ADDRESS OUT`.

Makes the same two updates under each ZeRO stage, and with a loss by sequence and a KL under the last one; writes the
weights after them, and the gradients' norms.
"""

import json
import sys
from pathlib import Path

import torch
from tiny_batches import LESSONS, hindsights, samples

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.records import Batch

torch.set_num_threads(1)
model, rank, ranks, meeting, out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5])
norms = []
by_sequence = {"zero_stage": 3, "loss": "gspo", "rollout_level": "sequence", "epochs": 2, "kl_weight": 0.5}
for name, changes in {**{str(stage): {"zero_stage": stage} for stage in (1, 2, 3)}, "kl": by_sequence}.items():
    settings = LearnerSettings(lr=1e-4, token_budget=128, autocast=False, ranks=ranks, **changes)  # type: ignore[arg-type]
    engine = Engine(model, settings, rank=rank, world_size=ranks, init_method=meeting)
    # One piece: with two ranks, one of them has nothing to do but must keep in step.
    taught = (
        Batch(samples=samples(), hindsights=hindsights()) if name == "kl" else Batch(samples=samples(), lessons=LESSONS)
    )
    for batch in (taught, Batch(samples=samples(1, seed=9))):
        norms.append(engine.update(batch).metrics["grad_norm"])
    blob = engine.weights()
    if rank == 0:
        (out / f"{ranks}-{name}.safetensors").write_bytes(blob)
if rank == 0:
    (out / f"{ranks}.json").write_text(json.dumps(norms))
engine.close()
