"""Importance weights between learner and rollout engine, which assign different probabilities to the same tokens."""

from typing import Literal

import torch
from torch import Tensor


def total_of_sample(values_T: Tensor, sample_T: Tensor) -> Tensor:
    """[T] for each token, the sum of `values_T` over all tokens of its sample; differentiable."""
    num = int(sample_T.max()) + 1 if sample_T.numel() else 0
    return values_T.new_zeros(num).index_add(0, sample_T, values_T)[sample_T]


@torch.no_grad()
def rollout_weights(
    gap_T: Tensor,
    sample_T: Tensor,
    *,
    form: Literal["truncate", "mask"],
    level: Literal["token", "sequence"],
    cap: float,
) -> tuple[Tensor, Tensor]:
    """[T] constant weights, and [T] whether a weight was beyond the cap.

        token:    ρ_t = exp(gap_t)                gap_t = logπ_old(y_t) − logμ(y_t); μ: the rollout engine
        sequence: ρ_t = exp(Σ_{s in sample} gap_s), one weight for all of a sample's tokens
        truncate: w_t = min(ρ_t, cap)             keeps every sample; biased beyond the cap
        mask:     w_t = ρ_t if ρ_t ≤ cap else 0   drops what is far likelier under the learner

    Truncated: Ionides 2008, between rollout and learner engines as in Yao et al. 2025, "Your efficient RL framework
    secretly brings you off-policy RL training". Masked and per sequence: Liu et al. 2025, "When speed kills stability:
    demystifying RL collapse from the training-inference mismatch".
    """
    ratio_T = (gap_T if level == "token" else total_of_sample(gap_T, sample_T)).exp()
    beyond_T = ratio_T > cap
    if form == "truncate":
        return ratio_T.clamp(max=cap), beyond_T
    # masked_fill instead of a product with the mask: an infinite ratio times zero is NaN.
    return ratio_T.masked_fill(beyond_T, 0.0), beyond_T
