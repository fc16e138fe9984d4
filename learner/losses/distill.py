"""Feedback distillation losses. Suffixes: `_T` one entry per token, `_V` one per vocabulary entry."""

from torch import Tensor

from learner.losses.batch_counts import BatchCounts


def distill_loss(logprobs_T: Tensor, counts: BatchCounts) -> Tensor:
    """Weighted cross-entropy of feedback tokens given brief and page: −λ/N Σ_t logπ_t.

    N is `counts.distill_tokens`, those of the whole batch on all ranks; λ is `counts.distill_weight`.
    """
    return -counts.distill_weight * logprobs_T.sum() / max(1, counts.distill_tokens)


def hindsight_loss(logprobs_TV: Tensor, teacher_TV: Tensor, counts: BatchCounts) -> Tensor:
    """Weighted KL on revision tokens, from the policy with the feedback (teacher) to the policy without it.

        λ/N Σ_t Σ_v q_t(v) (log q_t(v) − logπ_t(v))        q_t = sg π(· | brief, page, feedback, y_<t)

    `teacher_TV` is log q, constant; the revision y was sampled from q. λ and N as in `distill_loss`. Context
    distillation (Askell et al. 2021, arXiv 2112.00861) on whole distributions instead of the sampled tokens.
    """
    divergence = (teacher_TV.exp() * (teacher_TV - logprobs_TV)).sum()
    return counts.distill_weight * divergence / max(1, counts.distill_tokens)
