"""The clipped policy loss, with the correction for what the engine sampled from. Suffix `_T`: one entry a token."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoss:
    """A share of a batch's policy loss and what to know about it; sums over tokens, so that shares add up."""

    loss: Tensor
    """Scalar with a gradient."""
    clipped: Tensor
    """Tokens whose ratio was clipped."""
    gap_sum: Tensor
    """Sum of |learner − engine| log-prob."""
    gap_max: Tensor
    """Largest |learner − engine| log-prob; 0 of no tokens."""
    tail: Tensor
    """Tokens whose importance weight exceeded the cap."""


def policy_loss(
    logprobs_T: Tensor,
    old_logprobs_T: Tensor,
    engine_logprobs_T: Tensor,
    advantages_T: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    cap: float,
    num_tokens: int,
) -> PolicyLoss:
    """Token-level clipped loss over `num_tokens`, the trained tokens of the whole batch on all ranks.

        r_t = exp(logπ_t − logπ_old,t)             π_old: the learner at the start of the update
        w_t = min(exp(logπ_old,t − logμ_t), cap)   μ: the engine that sampled; a constant
        L   = −1/N Σ_t w_t · min(r_t Â_t, clip(r_t, 1 − clip_low, 1 + clip_high) Â_t)

    Clipped objective: PPO (arXiv 1707.06347). Two clips and the sum over the batch's tokens: DAPO (arXiv
    2503.14476). Truncated importance sampling: Ionides 2008, between rollout and learner engines as in Yao et
    al. 2025, "Your efficient RL framework secretly brings you off-policy RL training".
    """
    ratio_T = (logprobs_T - old_logprobs_T).exp()
    bounded_T = ratio_T.clamp(1 - clip_low, 1 + clip_high)
    gains_T = torch.minimum(ratio_T * advantages_T, bounded_T * advantages_T)
    with torch.no_grad():
        gap_T = old_logprobs_T - engine_logprobs_T
        weights_T = gap_T.exp()
        clipped = (bounded_T * advantages_T < ratio_T * advantages_T).sum()
        gap_max = gap_T.abs().max() if gap_T.numel() else gap_T.new_zeros(())
    return PolicyLoss(
        loss=-(weights_T.clamp(max=cap) * gains_T).sum() / num_tokens,
        clipped=clipped,
        gap_sum=gap_T.abs().sum(),
        gap_max=gap_max,
        tail=(weights_T > cap).sum(),
    )
