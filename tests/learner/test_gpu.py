"""Tests of the learner on its device: precision, CPU offload, LoRA adapters, and resuming.

On a GPU in bfloat16 with NCCL; without one the same tests run in float32 with gloo, and expect less rounding.
"""

import gc
from pathlib import Path
from typing import Any

import plain_torch
import pytest
import torch
from safetensors.torch import load as read_weights
from tiny_batches import LESSONS, samples, siblings

from learner.engine import Engine
from learner.settings import LearnerSettings
from rollout.records import Batch

pytestmark = [
    pytest.mark.engine,
    pytest.mark.gpu,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
GPU = torch.cuda.is_available()
DTYPE = torch.bfloat16 if GPU else torch.float32
NORM_ERROR, STEP_ERROR = (0.05, 0.2) if GPU else (1e-3, 1e-3)
"""Largest relative differences from a plain float32 loop: of a gradient's norm; of the squared distance moved."""
SETTINGS = LearnerSettings(lr=1e-3, token_budget=128, autocast=False)
BATCHES = [Batch(samples=(*samples(seed=seed), *siblings(seed=seed)), lessons=LESSONS) for seed in range(3)]
WAYS: list[dict[str, Any]] = [
    {"zero_stage": stage, "offload": offload}
    for stage in (1, 2, 3)
    for offload in ("none", "optimizer", "all")
    if stage == 3 or offload != "all"
]


def start(model: Path, meeting: str, **changes: Any) -> Engine:
    return Engine(model, SETTINGS.model_copy(update=changes), init_method=meeting)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_updates_learn_the_same_as_a_plain_float32_loop_but_for_rounding(
    model: Path, meeting: str, way: dict[str, Any]
) -> None:
    engine = start(model, meeting, **way)
    metrics = [engine.update(batch).metrics for batch in BATCHES]
    wanted, steps = plain_torch.train(model, BATCHES, SETTINGS)
    assert [one["grad_norm"] for one in metrics] == pytest.approx([step.norm for step in steps], rel=NORM_ERROR)
    found, first = read_weights(engine.weights()), plain_torch.read(model).state_dict()
    assert all(tensor.dtype == DTYPE for tensor in found.values())
    moved = sum((wanted[name] - first[name]).norm() ** 2 for name in found)
    assert sum((found[name].float() - wanted[name]).norm() ** 2 for name in found) < STEP_ERROR * moved


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_resumed_learner_continues_bit_identically(
    model: Path, meeting: str, way: dict[str, Any], tmp_path: Path
) -> None:
    engine = start(model, meeting, **way)
    engine.update(BATCHES[0])
    engine.save(tmp_path / "step-1")
    for batch in BATCHES[1:]:
        engine.update(batch)
    resumed = start(model, meeting, **way)
    resumed.load(tmp_path / "step-1")
    for batch in BATCHES[1:]:
        resumed.update(batch)
    assert resumed.weights() == engine.weights()


@pytest.mark.skipif(not GPU, reason="no GPU here: without one, offloading moves nothing")
@pytest.mark.parametrize("stage", [2, 3])
def test_offloaded_optimizer_state_is_not_on_the_gpu(model: Path, meeting: str, stage: int) -> None:
    held = {}
    for offload in ("none", "optimizer"):
        gc.collect()
        before = torch.cuda.memory_allocated()
        engine = start(model, meeting, zero_stage=stage, offload=offload)
        engine.update(BATCHES[0])
        held[offload] = torch.cuda.memory_allocated() - before
        numbers = sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters())
        engine.engine.destroy()
        del engine
    # A float32 master and two AdamW moments: 12 bytes per weight, less DeepSpeed's transfer buffers.
    assert held["none"] - held["optimizer"] > 8 * numbers


@pytest.mark.parametrize("stage", [1, 3])
def test_adapters_are_exported_as_merged_weights(model: Path, meeting: str, stage: int, tmp_path: Path) -> None:
    engine = start(model, meeting, zero_stage=stage, lora_rank=4, kl_weight=0.1, lr=1e-2)
    metrics = [engine.update(batch).metrics for batch in BATCHES]
    assert metrics[0]["kl"] == 0 < metrics[2]["kl"]
    engine.export(tmp_path / "champion")
    ids = samples(1)[0].prompt_ids + samples(1)[0].token_ids
    with torch.no_grad():
        exported = plain_torch.read(tmp_path / "champion")(torch.tensor([ids])).logits[0].log_softmax(-1)
        first = plain_torch.read(model)(torch.tensor([ids])).logits[0].log_softmax(-1)
    found, wanted, before = (
        torch.tensor(engine.logprobs(ids)),
        *(one[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0] for one in (exported, first)),
    )
    # The rounding error, also of bfloat16, is far smaller than the learnt change.
    assert (found - wanted).abs().mean() < 0.1 * (wanted - before).abs().mean()
