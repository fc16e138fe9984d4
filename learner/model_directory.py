"""Validates a model directory for training, and shortens its configuration so that `learner.proof` runs in seconds."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rollout.errors import ModelError

WHOLE = 50_000_000
"""Largest number of parameters for which a proof uses all layers."""
WINDOW = 64
"""Sliding window in a proof, in tokens: its sequences exceed it, as pages exceed the model's own."""
CHANGE = 128
"""Length from which rotary factors change in a proof, in tokens, for the same reason."""
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
BY_LENGTH = ("dynamic", "longrope")
"""Rotary scaling types whose factors depend on the sequence length."""


def read_config(model_dir: Path) -> Any:
    """Reads a directory's configuration. Raises ModelError when weights are missing or config.json is unreadable."""
    from transformers import AutoConfig

    if not any(path for kind in WEIGHTS for path in model_dir.glob(kind)):
        raise ModelError(
            f"{model_dir}: holds no weights, wanted {' or '.join(WEIGHTS)}; download or copy the whole model directory"
        )
    try:
        return AutoConfig.from_pretrained(model_dir)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{model_dir}: transformers cannot read config.json: {_one_line(error)}") from error


def read_whole(model_dir: Path, config: Any) -> Any:
    """Loads the model with eager attention, evaluation mode and float32. Raises ModelError when it cannot be loaded
    whole."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            model_dir, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{model_dir}: transformers cannot load it as a causal language model: {_one_line(error)}; "
            "use a complete text model of a type that the installed transformers supports"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{model_dir}: the weights lack {len(missing)} of the model's tensors, such as {missing[0]}; "
            "copy the whole model directory"
        )
    return model.eval()


def shortened(config: Any, longest: int) -> Any:
    """A smaller configuration with which a few hundred tokens exercise what `longest` tokens would.

    Large models keep only their first layers, at least one of each type. Sliding windows, and lengths from which rotary
    factors change, are reduced unless no page can exceed them.
    """
    small = copy.deepcopy(config)
    text = small.get_text_config()
    if (window := getattr(text, "sliding_window", None)) and window < longest:
        text.sliding_window = min(window, WINDOW)
    change = length_of_rotary_change(text)
    if change and change < longest:
        _change_at(text, min(change, CHANGE))
    if _parameters(config) > WHOLE:
        _keep_layers(text)
    return small


def length_of_rotary_change(text: Any) -> int:
    """Sequence length from which rotary factors depend on the length; 0 if they do not."""
    for rope in _ropes(text):
        if rope.get("rope_type") in BY_LENGTH:
            return int(_original(text, rope) or text.max_position_embeddings)
    return 0


def _original(text: Any, rope: dict[str, Any]) -> int | None:
    found = rope.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    return None if found is None else int(found)


def _change_at(text: Any, length: int) -> None:
    for rope in _ropes(text):
        if rope.get("rope_type") == "dynamic":
            text.max_position_embeddings = length
        if "original_max_position_embeddings" in rope:
            rope["original_max_position_embeddings"] = length
    if getattr(text, "original_max_position_embeddings", None):
        text.original_max_position_embeddings = length


def _ropes(text: Any) -> Iterator[dict[str, Any]]:
    """The rotary parameters of a configuration; some models have one set per layer type."""
    found = getattr(text, "rope_parameters", None) or {}
    if "rope_type" in found:
        yield found
    else:
        yield from (one for one in found.values() if isinstance(one, dict))


def _parameters(config: Any) -> int:
    """Number of parameters, counted on the meta device. Raises ModelError when it is not a causal language model."""
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        raise ModelError(f"transformers has no causal language model of this kind: {_one_line(error)}") from error
    return sum(parameter.numel() for parameter in model.parameters())


def _keep_layers(text: Any) -> None:
    """Keeps the first layers: at least two, one of each type, and one after a model's leading dense layers."""
    types = list(getattr(text, "layer_types", None) or [])
    kept = max([2, *(types.index(kind) + 1 for kind in set(types)), getattr(text, "first_k_dense_replace", 0) + 1])
    if kept < text.num_hidden_layers:
        text.num_hidden_layers = kept
        if types:
            text.layer_types = types[:kept]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
