"""The network that is trained: read from a Hugging Face directory, read for a row, told apart from another."""

import hashlib
from collections.abc import Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.attention import NAME, register
from learner.losses.logprobs import likelihood
from learner.packing import PackedRow, TokenSequence, alone, pack_tensors
from learner.processor import has_bfloat16_units
from learner.settings import LearnerSettings

MARKED = 256
"""Numbers of each weight that a fingerprint looks at."""


def read_model(
    model_dir: Path,
    settings: LearnerSettings,
    device: str,
    *,
    frozen: bool = False,
    packed: bool = True,
    config: Any = None,
) -> Any:
    """A causal language model on the CPU, ready to be trained; frozen, it computes just as one that is trained does.

    `packed` says whether it reads several samples as one row, with this project's attention, or one sample with the
    model's own. `config` replaces the directory's own configuration.
    """
    from transformers import AutoModelForCausalLM

    wanted = settings.dtype
    if wanted == "auto":
        wanted = "float32" if device == "cpu" else "bfloat16"
    attention = register() if packed else "eager"
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=getattr(torch, wanted), attn_implementation=attention, config=config
    )
    model.config.use_cache = False
    if settings.recompute and not frozen:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    autocast = settings.autocast
    if autocast or (autocast is None and wanted == "float32" and device == "cpu" and has_bfloat16_units()):
        model.forward = _in_bfloat16(model, device, always=frozen)
    return model.requires_grad_(False).eval() if frozen else to_update_mode(model)


def to_update_mode(model: Any) -> Any:
    """Makes updates compute what the engine computes: no dropout, no noise in routers. Returns the model.

    Every module is in evaluation mode, except those that look at `training` for another reason: the model itself for
    autocast (`_in_bfloat16`), and layers that recompute their activations.
    """
    model.eval()
    model.training = True
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
    return model


def read_tokenizer(model_dir: Path) -> Any:
    """The tokenizer of a Hugging Face directory."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


def logits_of(model: Any, row: PackedRow) -> Tensor:
    """[T, V] logits that predict the row's learnt tokens, in the numbers that the model's head gives."""
    network = getattr(model, "module", model)
    accepted = signature(network.forward).parameters
    options: dict[str, Any] = {"position_ids": row.positions_L[None], "logits_to_keep": row.reading_T}
    options = {name: value for name, value in options.items() if name in accepted}
    if network.config._attn_implementation == NAME:
        options["spans"] = row.spans
    logits: Tensor = model(input_ids=row.ids_L[None], use_cache=False, **options).logits[0]
    return logits if "logits_to_keep" in options else logits[row.reading_T]


@torch.no_grad()
def logprobs_of(model: Any, token_ids: Sequence[int], device: str) -> tuple[float, ...]:
    """[T-1] log-prob of each token of a sequence after the first, given those before it, at temperature 1."""
    row = pack_tensors(alone([TokenSequence(prompt_ids=token_ids[:1], token_ids=token_ids[1:])]), device)
    logprobs_T, _ = likelihood(logits_of(model, row), row.targets_T, torch.ones(len(row.targets_T), device=device))
    return tuple(logprobs_T.tolist())


def fingerprint(model: Any) -> str:
    """Tells models apart: 16 hexadecimal digits of their weights' names and of some numbers of each."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        numbers = parameter.detach().flatten()
        some = numbers[:: max(1, len(numbers) // MARKED)].to("cpu", torch.float64)
        digest.update(name.encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def _in_bfloat16(model: Any, device: str, *, always: bool) -> Any:
    """`model.forward` that multiplies in bfloat16 while training; a canary is compared in full precision.

    Inside forward, because DeepSpeed switches off an autocast that it finds outside, and its own would also
    reduce gradients in bfloat16.
    """
    forward = model.forward

    @wraps(forward)
    def autocast(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=always or model.training):
            return forward(*args, **kwargs)

    return autocast
