"""Attention over packed rows: every sequence of a row sees itself alone, and no work is spent between them."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

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
    spans: list[list[int]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each of the families whose `spans` sum to L; returns [1, L, H, D].

    A family is a trunk and branches, each of which sees the trunk and itself. A loop over them costs Σ length² where a
    masked row costs L². G key heads serve H query heads. Without `spans` the row is one trunk. Raises ValueError for a
    sliding window shorter than a sequence: this attention has none.
    """
    spans = spans or [[query_1HLD.shape[2]]]
    longest = max(trunk + max(branches, default=0) for trunk, *branches in spans)
    if sliding_window is not None and sliding_window < longest:
        raise ValueError(f"a sequence has {longest} tokens, but the model's sliding window is {sliding_window}")
    gqa = query_1HLD.shape[1] != key_1GLD.shape[1]
    attend = partial(scaled_dot_product_attention, dropout_p=dropout, scale=scaling, enable_gqa=gqa)
    cuts = [tokens for family in spans for tokens in family]
    pieces = zip(*(torch.split(each, cuts, 2) for each in (query_1HLD, key_1GLD, value_1GLD)), strict=True)
    parts = []
    for _trunk, *branches in spans:
        query, key, value = next(pieces)
        parts.append(attend(query, key, value, is_causal=True))
        for _branch in branches:
            own_query, *own = next(pieces)
            keys, values = (torch.cat(pair, 2) for pair in zip((key, value), own, strict=True))
            mask = causal_lower_right(own_query.shape[2], keys.shape[2])
            parts.append(attend(own_query, keys, values, attn_mask=mask))
    return torch.cat(parts, dim=2).transpose(1, 2), None
