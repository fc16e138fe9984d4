"""Attention over packed rows: every sequence of a row sees itself alone, and no work is spent between them."""

from typing import Any

import torch
from torch import Tensor

NAME = "relook_packed"
"""What models are loaded with (`attn_implementation`) once `register` was called."""


def register() -> str:
    """Makes packed attention known to transformers; returns its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME


def packed_attention(
    module: Any,
    query_1HLD: Tensor,
    key_1GLD: Tensor,
    value_1GLD: Tensor,
    attention_mask: Tensor | None,
    *,
    lengths: list[int] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each of the sequences whose `lengths` sum to L; returns [1, L, H, D].

    A loop over sequences costs Σ length² where a masked row costs L², and its kernels need no mask. G key heads
    serve H query heads. Without `lengths` the row is one sequence. Raises ValueError for a sliding window shorter
    than a sequence: this attention has none.
    """
    lengths = lengths or [query_1HLD.shape[2]]
    if sliding_window is not None and sliding_window < max(lengths):
        raise ValueError(f"a sequence has {max(lengths)} tokens, but the model's sliding window is {sliding_window}")
    shared = query_1HLD.shape[1] != key_1GLD.shape[1]
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=shared
        ).transpose(1, 2)
        for query, key, value in zip(
            torch.split(query_1HLD, lengths, 2),
            torch.split(key_1GLD, lengths, 2),
            torch.split(value_1GLD, lengths, 2),
            strict=True,
        )
    ]
    return torch.cat(parts, dim=1), None
