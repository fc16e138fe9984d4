"""DeepSpeed: the process group of the ranks, the training engine, a frozen reference, and whole weights.

The only file that uses DeepSpeed.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from learner.checkpoint_names import as_saved, grouped
from learner.interfaces import choose_interface
from learner.lora import weights_of
from learner.settings import LearnerSettings


def join(device: str, rank: int, world_size: int, init_method: str) -> None:
    """Joins the process group, and stops DeepSpeed from creating its own."""
    os.environ.setdefault("LOCAL_RANK", "0")
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    # The shared-memory operator is for inference only, and would take a minute to compile here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        # Before DeepSpeed, which would pass a device id: that makes weight syncs hang on GPU.
        backend = "nccl" if device == "cuda" else "gloo"
        if world_size > 1:
            choose_interface(init_method)
        dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world_size)


def start_training(model: Any, settings: LearnerSettings, device: str) -> Any:
    """Starts DeepSpeed's engine for the trainable weights of `model`, with AdamW."""
    import deepspeed

    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    rough = model.dtype == torch.bfloat16
    config = {
        "train_micro_batch_size_per_gpu": 1,
        # One step() is one update, for any number of micro-batches.
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.grad_clip,
        "bf16": {"enabled": rough},
        # Accumulating many micro-batches in bfloat16 would double the gradient's error.
        "data_types": {"grad_accum_dtype": "fp32"} if rough else {},
        "zero_optimization": {
            "stage": settings.zero_stage,
            "overlap_comm": False,
            **_offloaded(settings.offload, pinned=device == "cuda"),
        },
        # Use torch's AdamW on the CPU too: DeepSpeed's own has to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return engine


def start_reference(model: Any, settings: LearnerSettings, device: str) -> Any:
    """Prepares a frozen model for forward passes. Every rank holds a full copy; ZeRO-3 shards it."""
    if settings.zero_stage < 3:
        return model.to(device)
    import deepspeed

    config = {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": model.dtype == torch.bfloat16},
        "zero_optimization": {"stage": 3, "overlap_comm": False},
        "steps_per_print": 10**9,
    }
    engine, *_ = deepspeed.initialize(model=model, config=config)
    engine.eval()
    return engine


def whole_weights(model: Any, *, sharded: bool) -> Iterator[tuple[str, Tensor]]:
    """Iterates over all whole weights with checkpoint names, tied weights once. All ranks must exhaust it together.

    `sharded`: under ZeRO-3, each weight is gathered from all ranks. Adapters are merged into the weights. A tensor is
    valid until the next one is requested.
    """
    import deepspeed

    for group in grouped(model, weights_of(model)):
        parts = [part for weight in group for part in weight.parts]
        with deepspeed.zero.GatheredParameters(parts, enabled=sharded):
            yield from as_saved(model, {weight.name: weight.whole() for weight in group}).items()


def _offloaded(offload: str, *, pinned: bool) -> dict[str, Any]:
    there = {"device": "cpu", "pin_memory": pinned}
    parts = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return dict.fromkeys(parts[offload], there)
