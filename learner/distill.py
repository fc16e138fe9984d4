"""Feedback distillation: the policy learns to write the critic's words itself. Suffix `_T`: one entry a token."""

from torch import Tensor


def distill_loss(logprobs_T: Tensor, *, weight: float, num_tokens: int) -> Tensor:
    """Weighted cross-entropy of a share of a batch's feedback tokens, given brief and page: −λ/N Σ_t logπ_t.

    `num_tokens` is N, the feedback tokens of the whole batch on all ranks; λ is `weight`.
    """
    return -weight * logprobs_T.sum() / num_tokens
