"""The network that is trained: read from a Hugging Face directory, read for a row, told apart from another."""

import hashlib
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.attention import register
from learner.likelihood import likelihood
from learner.processor import has_bfloat16_units
from learner.rows import Piece, Row, alone, lay_out
from learner.settings import LearnerSettings

MARKED = 256
"""Numbers of each weight that a fingerprint looks at."""


def read_model(model_dir: Path, settings: LearnerSettings, device: str, *, frozen: bool = False) -> Any:
    """A causal language model on the CPU, ready to be trained; frozen, it computes just as one that is trained does."""
    from transformers import AutoModelForCausalLM

    wanted = settings.dtype
    if wanted == "auto":
        wanted = "float32" if device == "cpu" else "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=getattr(torch, wanted), attn_implementation=register()
    )
    model.config.use_cache = False
    if settings.recompute and not frozen:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    autocast = settings.autocast
    if autocast or (autocast is None and wanted == "float32" and device == "cpu" and has_bfloat16_units()):
        model.forward = _in_bfloat16(model, device, always=frozen)
    return model.requires_grad_(False).eval() if frozen else model.train()


def read_tokenizer(model_dir: Path) -> Any:
    """The tokenizer of a Hugging Face directory."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


def logits_of(model: Any, row: Row) -> Tensor:
    """[T, V] logits that predict the row's learnt tokens, in the numbers that the model's head gives."""
    output = model(
        input_ids=row.ids_L[None],
        position_ids=row.positions_L[None],
        logits_to_keep=row.reading_T,
        spans=row.spans,
        use_cache=False,
    )
    logits: Tensor = output.logits[0]
    return logits


@torch.no_grad()
def logprobs_of(model: Any, token_ids: Sequence[int], device: str) -> tuple[float, ...]:
    """[T-1] log-prob of each token of a sequence after the first, given those before it, at temperature 1."""
    row = lay_out(alone([Piece(prompt_ids=token_ids[:1], token_ids=token_ids[1:])]), device)
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
