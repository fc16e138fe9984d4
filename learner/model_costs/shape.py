"""Dimensions of a decoder-only transformer, from a Hugging Face configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIXTURES = ("num_experts", "num_local_experts", "n_routed_experts")
"""Keys of a configuration whose layers have several feed-forward networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Dimensions of a model with Llama or Qwen2 layers: grouped-query attention and a gated feed-forward network."""

    hidden: int
    inner: int
    """Width of the feed-forward network."""
    layers: int
    heads: int
    key_heads: int
    vocab: int
    tied: bool
    """Whether the output head is the embedding."""
    head_width: int = 0
    """Width of one head; 0 is `hidden / heads`."""

    @property
    def width(self) -> int:
        """Width of one attention head."""
        return self.head_width or self.hidden // self.heads

    @property
    def layer_weights(self) -> int:
        """Weights of the matrices of one layer; biases and norms are left out."""
        attention = 2 * self.hidden * (self.heads + self.key_heads) * self.width
        return attention + 3 * self.hidden * self.inner

    @property
    def embedding_weights(self) -> int:
        """Weights of the embedding, which are also those of a tied head."""
        return self.vocab * self.hidden

    @property
    def weights(self) -> int:
        """All weights, without biases and norms (less than 0.1 % of a model)."""
        return self.layers * self.layer_weights + self.embedding_weights * (1 if self.tied else 2)


FAMILY = {
    "qwen2.5-0.5b": ModelShape(hidden=896, inner=4864, layers=24, heads=14, key_heads=2, vocab=151936, tied=True),
    "qwen2.5-1.5b": ModelShape(hidden=1536, inner=8960, layers=28, heads=12, key_heads=2, vocab=151936, tied=True),
    "qwen2.5-3b": ModelShape(hidden=2048, inner=11008, layers=36, heads=16, key_heads=2, vocab=151936, tied=True),
    "qwen2.5-7b": ModelShape(hidden=3584, inner=18944, layers=28, heads=28, key_heads=4, vocab=152064, tied=False),
    "qwen2.5-32b": ModelShape(hidden=5120, inner=27648, layers=64, heads=40, key_heads=8, vocab=152064, tied=False),
    "qwen2.5-72b": ModelShape(hidden=8192, inner=29568, layers=80, heads=64, key_heads=8, vocab=152064, tied=False),
}
"""Dimensions of public models, from their configurations, to plan for a model that is not on this machine."""


def read_shape(model_dir: Path) -> ModelShape | None:
    """Dimensions of a Hugging Face directory; None for other layers, or without a readable configuration."""
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config | (config.get("text_config") or {})) if isinstance(config, dict) else None


def shape_of(config: Mapping[str, Any]) -> ModelShape | None:
    """Dimensions from a configuration's values; None for mixtures of experts and unknown layers."""
    if any(config.get(name) for name in MIXTURES):
        return None
    try:
        heads = int(config["num_attention_heads"])
        return ModelShape(
            hidden=int(config["hidden_size"]),
            inner=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            key_heads=int(config.get("num_key_value_heads") or heads),
            vocab=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            head_width=int(config.get("head_dim") or 0),
        )
    except (KeyError, TypeError, ValueError):
        return None
