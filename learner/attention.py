"""Attention over packed rows: each sequence attends only to itself and its prompt, at no cost for other pairs."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

NAME = "relook_packed"
"""The `attn_implementation` to load models with, after `register`."""


def register() -> str:
    """Registers packed attention with transformers; returns its name."""
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
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each prefix group; returns [1, L, H, D].

    Each branch of a group attends to the trunk and to itself. `spans` holds the lengths of trunks and branches, which
    sum to L; without it the row is one trunk. A loop over groups costs Σ length², a masked row L². G key heads serve H
    query heads.

    There is no dropout, see `learner.model.to_update_mode`. `sliding_window`, `softcap` (Gemma 2) and `s_aux`, one sink
    per head (gpt-oss), come from transformers. Other features, such as position biases, are not supported;
    `learner.proof` detects models that need them.
    """
    spans = spans or [[query_1HLD.shape[2]]]
    cuts = [tokens for family in spans for tokens in family]
    pieces = zip(*(torch.split(each, cuts, 2) for each in (query_1HLD, key_1GLD, value_1GLD)), strict=True)
    parts = []

    def attend(query: Tensor, key: Tensor, value: Tensor) -> None:
        window = sliding_window if sliding_window is not None and sliding_window < key.shape[2] else None
        if softcap is None and s_aux is None:
            parts.append(_fused(query, key, value, scaling, window))
        else:
            parts.append(_spelt_out(query, key, value, scaling, window, softcap, s_aux))

    for _trunk, *branches in spans:
        query, key, value = next(pieces)
        attend(query, key, value)
        for _branch in branches:
            own_query, *own = next(pieces)
            attend(own_query, *(torch.cat(pair, 2) for pair in zip((key, value), own, strict=True)))
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _fused(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None) -> Tensor:
    """torch's fused attention; the queries are the last positions of the keys."""
    queries = query.shape[2]
    keys = key.shape[2]
    gqa = query.shape[1] != key.shape[1]
    whole = window is None and queries == keys
    mask = (
        None if whole else _seen(queries, keys, window, query.device) if window else causal_lower_right(queries, keys)
    )
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=whole, scale=scaling, enable_gqa=gqa
    )


def _spelt_out(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Unfused attention with softcap and sinks: softmax over c·tanh(q·k/c) and a sink, which takes probability and adds
    no value. All scores are held in memory."""
    queries = query.shape[2]
    keys = key.shape[2]
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~_seen(queries, keys, window, query.device), float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.reshape(1, -1, 1, 1).expand(1, -1, queries, 1).to(scores.dtype)], -1)
    shares = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    return shares[..., :keys] @ value


def _seen(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """[queries, keys] causal mask: a key is visible if it is not later, and fewer than `window` positions earlier."""
    apart = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    return (apart >= 0) if window is None else (apart >= 0) & (apart < window)
