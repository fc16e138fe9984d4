"""Log-probs and entropies of tokens from logits, without a second [T, V] table.

A float32 [T, V] table dominates an update's memory with a large vocabulary, and its time with a small one. So logits
stay in the dtype of the model's head and are converted to float32 for a few tokens at a time. Suffixes: `_T` one entry
per token, `_V` one per vocabulary entry.
"""

from typing import Any

import torch
from torch import Tensor

TOKENS_AT_ONCE = 128
"""Tokens per slice: few enough for a CPU cache, many enough for a GPU."""


def likelihood(logits_TV: Tensor, targets_T: Tensor, temperature_T: Tensor) -> tuple[Tensor, Tensor]:
    """[T] log-probs of the targets (differentiable) and [T] entropies in nats (not differentiable), both in float32.

    The distribution is softmax(logits / temperature), with one temperature per token.
    """
    found: tuple[Tensor, Tensor] = _Likelihood.apply(logits_TV, targets_T, temperature_T)  # type: ignore[no-untyped-call]
    return found


class _Likelihood(torch.autograd.Function):
    """Autograd function for log-probs and entropies. With x = logits / τ and m = max x:

    logp = x_y − m − log Σ exp(x − m)        H = m + log Σ exp(x − m) − Σ p x        ∂logp/∂logits = (1_y − p) / τ
    """

    @staticmethod
    def forward(ctx: Any, logits_TV: Tensor, targets_T: Tensor, temperature_T: Tensor) -> tuple[Tensor, Tensor]:
        logprobs: list[Tensor] = []
        entropies: list[Tensor] = []
        norms: list[Tensor] = []
        for x_SV, y_S, tau_S in _slices(logits_TV, targets_T, temperature_T):
            x_SV = x_SV.float() / tau_S[:, None]
            top_S = x_SV.amax(-1)
            weights_SV = (x_SV - top_S[:, None]).exp_()
            sum_S = weights_SV.sum(-1)
            spread_S = sum_S.log()
            logprobs.append(x_SV.gather(-1, y_S[:, None])[:, 0] - top_S - spread_S)
            norms.append(top_S + spread_S)
            entropies.append(norms[-1] - weights_SV.mul_(x_SV).sum(-1) / sum_S)
        entropies_T = torch.cat(entropies)
        ctx.save_for_backward(logits_TV, targets_T, temperature_T, torch.cat(norms))
        ctx.mark_non_differentiable(entropies_T)
        return torch.cat(logprobs), entropies_T

    @staticmethod
    def backward(ctx: Any, slope_T: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        logits_TV, targets_T, temperature_T, norms_T = ctx.saved_tensors
        slopes_TV = torch.empty_like(logits_TV)
        parts = _slices(logits_TV, targets_T, temperature_T, norms_T, slope_T, slopes_TV)
        for x_SV, y_S, tau_S, norm_S, slope_S, out_SV in parts:
            probs_SV = (x_SV.float() / tau_S[:, None] - norm_S[:, None]).exp_()
            slope_S = slope_S / tau_S
            pulls_SV = probs_SV.mul_(-slope_S[:, None])
            out_SV.copy_(pulls_SV.scatter_add_(-1, y_S[:, None], slope_S[:, None]))
        return slopes_TV, None, None


def _slices(*tensors: Tensor) -> Any:
    return zip(*(torch.split(tensor, TOKENS_AT_ONCE) for tensor in tensors), strict=True)
