"""Loads and writes the trained model and its tokenizer, and computes logits, log-probs and fingerprints."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.attention import NAME, register
from learner.losses.logprobs import likelihood
from learner.packing import PackedRow, TokenSequence, pack_tensors, ungrouped
from learner.processor import has_bfloat16_units
from learner.settings import LearnerSettings

GENERATION = "generation_config.json"
MARKED = 256
"""Values of each weight that enter a fingerprint."""


def read_model(
    model_dir: Path,
    settings: LearnerSettings,
    device: str,
    *,
    frozen: bool = False,
    packed: bool = True,
    config: Any = None,
) -> Any:
    """Loads a causal language model on the CPU; frozen and trained models compute the same.

    `packed`: read several samples as one row, with this project's attention; otherwise one sample with the model's own
    (eager) attention. `config` replaces the directory's configuration.
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
    """Disables dropout and router noise, so that updates compute the same as the rollout engine. Returns the model.

    All modules are in evaluation mode, except for uses of `training` other than noise: the model itself (autocast, see
    `_in_bfloat16`) and layers with gradient checkpointing.
    """
    model.eval()
    model.training = True
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
    return model


def read_tokenizer(model_dir: Path) -> Any:
    """Loads the tokenizer of a Hugging Face directory."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


def write_model(folder: Path, model: Any, tensors: Mapping[str, Tensor], tokenizer: Any, model_dir: Path) -> None:
    """Writes weights (`tensors`), configuration and tokenizer as a Hugging Face directory.

    `model_dir` is the directory that the model was loaded from.
    """
    defaults = model_dir / GENERATION
    if defaults.is_file():
        # transformers refuses to save some generation configs that it can load, so the original file is copied.
        model.generation_config = type(model.generation_config)()
    model.save_pretrained(folder, state_dict=tensors, save_original_format=False)
    if defaults.is_file():
        shutil.copyfile(defaults, folder / GENERATION)
    tokenizer.save_pretrained(folder)


def logits_of(model: Any, row: PackedRow) -> Tensor:
    """[T, V] logits that predict the learnt tokens of a packed row, in the dtype of the model's head."""
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
    """[T-1] log-prob of each token after the first, given the tokens before it, at temperature 1."""
    row = pack_tensors(ungrouped([TokenSequence(prompt_ids=token_ids[:1], token_ids=token_ids[1:])]), device)
    logprobs_T, _ = likelihood(logits_of(model, row), row.targets_T, torch.ones(len(row.targets_T), device=device))
    return tuple(logprobs_T.tolist())


def fingerprint(model: Any) -> str:
    """Model fingerprint: 16 hexadecimal digits of a SHA-256 over the names and sampled values of all weights."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        numbers = parameter.detach().flatten()
        some = numbers[:: max(1, len(numbers) // MARKED)].to("cpu", torch.float64)
        digest.update(name.encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def _in_bfloat16(model: Any, device: str, *, always: bool) -> Any:
    """Returns a `model.forward` that runs under bfloat16 autocast while training; canary checks use full precision.

    Autocast is applied inside forward: DeepSpeed disables an outer one, and its own also reduces gradients in bfloat16.
    """
    forward = model.forward

    @wraps(forward)
    def autocast(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=always or model.training):
            return forward(*args, **kwargs)

    return autocast
